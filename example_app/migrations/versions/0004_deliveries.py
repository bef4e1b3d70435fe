"""The inbox of Flask-Orbro, and what the deliveries of this app have changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

NAME = "connect_app_delivery"
serial = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
identifier = sa.String(255).with_variant(mysql.VARCHAR(255, collation="utf8mb4_bin"), "mysql", "mariadb")
body = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
long_text = sa.Text().with_variant(mysql.MEDIUMTEXT(collation="utf8mb4_bin"), "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        NAME,
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
    op.create_index(f"ix_{NAME}_next_attempt_at", NAME, ["next_attempt_at"])
    op.create_index(f"ix_{NAME}_state", NAME, ["state", "id"])
    op.create_index(f"ix_{NAME}_organization_id", NAME, ["organization_id", "id"])
    op.create_table(
        "device_change",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("organization_id", sa.String(255), nullable=False),
        sa.Column("event", sa.String(255), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
    )
    op.create_index("ix_device_change_organization_id", "device_change", ["organization_id"])


def downgrade() -> None:
    op.drop_table("device_change")
    op.drop_table(NAME)
