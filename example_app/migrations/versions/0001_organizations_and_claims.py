"""The tables of Flask-Orbro: organizations, and installs that nobody has proven yet."""

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


def upgrade() -> None:
    op.create_table(
        "connect_app_client_info",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("organization_id", identifier, nullable=False, unique=True),
        sa.Column("shared_secret", sa.String(1024), nullable=False),
        sa.Column("subdomain", sa.String(255)),
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


def downgrade() -> None:
    op.drop_table("connect_app_claim")
    op.drop_table("connect_app_client_info")
