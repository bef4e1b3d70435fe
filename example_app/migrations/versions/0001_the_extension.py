"""The tables of Flask-Orbro: organizations, installs that nobody has proven yet, and the inbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Compared byte by byte on every engine.
identifier = sa.String(255).with_variant(mysql.VARCHAR(255, collation="utf8mb4_bin"), "mysql", "mariadb")
serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
body = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
long_text = sa.Text().with_variant(mysql.MEDIUMTEXT(collation="utf8mb4_bin"), "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        "connect_app_client_info",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("organization_id", identifier, nullable=False, unique=True),
        sa.Column("shared_secret", sa.String(1024), nullable=False),
        sa.Column("subdomain", sa.String(255), index=True),
        sa.Column("installed_user_id", identifier, index=True),
        sa.Column("created_time", sa.DateTime()),
        sa.Column("updated_time", sa.DateTime()),
        sa.Column("state", sa.String(16), nullable=False, server_default="pending"),
        sa.Column("bound_subdomain", sa.String(63), unique=True),
        sa.Column("previous_secret", sa.String(1024)),
        sa.Column("previous_secret_until", sa.Double(), nullable=False, server_default="0"),
        sa.Column("proven_at", sa.Double(), nullable=False, server_default="0"),
        sa.Column("binding_proven_at", sa.Double(), nullable=False, server_default="0"),
        sa.Column("uninstall_requested_at", sa.Double()),
        sa.Column("refused_at", sa.Double()),
        sa.Column("asked", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("ask_at", sa.Double(), index=True),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("approved", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("version", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("uninstalled_at", sa.Double(), index=True),
        sa.Column("last_seen_at", sa.Double()),
        sa.Column("history", sa.Text()),
    )
    op.create_table(
        "connect_app_claim",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("organization_id", identifier, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("shared_secret", sa.String(1024), nullable=False),
        sa.Column("user_id", identifier),
        sa.Column("subdomain", sa.String(63), index=True),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("ask_at", sa.Double(), nullable=False, index=True),
        sa.UniqueConstraint("organization_id", "digest", name="uq_connect_app_claim"),
    )
    op.create_table(
        "connect_app_delivery",
        sa.Column("id", serial, primary_key=True),
        sa.Column("organization_id", identifier, nullable=False),
        sa.Column("user_id", identifier),
        sa.Column("event", identifier),
        sa.Column("path", sa.String(255), nullable=False),
        sa.Column("payload", body, nullable=False),
        sa.Column("headers", long_text, nullable=False),
        sa.Column("trace_id", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("unique_digest", sa.String(64)),
        sa.Column("duplicate_of", sa.BigInteger()),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("next_attempt_at", sa.Double()),
        sa.Column("lease", sa.String(32)),
        sa.Column("progress", long_text),
        sa.Column("last_error", long_text),
        sa.Column("duration", sa.Double()),
        sa.UniqueConstraint("unique_digest", name="uq_connect_app_delivery"),
    )
    op.create_index("ix_connect_app_delivery_next_attempt_at", "connect_app_delivery", ["next_attempt_at"])
    op.create_index("ix_connect_app_delivery_state", "connect_app_delivery", ["state", "id"])
    op.create_index(
        "ix_connect_app_delivery_organization_id", "connect_app_delivery", ["organization_id", "id"]
    )


def downgrade() -> None:
    op.drop_table("connect_app_delivery")
    op.drop_table("connect_app_claim")
    op.drop_table("connect_app_client_info")
