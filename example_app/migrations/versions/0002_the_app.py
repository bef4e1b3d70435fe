"""The tables of this app: accounts, sessions that have ended, posts, and what deliveries have changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("user_id", sa.String(32), primary_key=True),
        sa.Column("user_email", sa.String(254), nullable=False),
        sa.Column("password_hash", sa.String(255), nullable=False),
    )
    op.create_table(
        "ended_sessions",
        sa.Column("sid", sa.String(32), primary_key=True),
        sa.Column("forget_at", sa.Double(), index=True),
    )
    op.create_table(
        "posts",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("author_id", sa.String(32), sa.ForeignKey("users.user_id"), nullable=False, index=True),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
    )
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
    op.drop_table("posts")
    op.drop_table("ended_sessions")
    op.drop_table("users")
