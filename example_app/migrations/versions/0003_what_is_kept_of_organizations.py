"""What is kept of an organization besides: its history, when it was last seen, when it went."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLE = "connect_app_client_info"
INDEXED = ("subdomain", "uninstalled_at")


def upgrade() -> None:
    op.add_column(TABLE, sa.Column("uninstalled_at", sa.Double()))
    op.add_column(TABLE, sa.Column("last_seen_at", sa.Double()))
    op.add_column(TABLE, sa.Column("history", sa.Text()))
    for name in INDEXED:
        op.create_index(f"ix_{TABLE}_{name}", TABLE, [name])


def downgrade() -> None:
    for name in INDEXED:
        op.drop_index(f"ix_{TABLE}_{name}", TABLE)
    with op.batch_alter_table(TABLE) as table:
        for name in ("history", "last_seen_at", "uninstalled_at"):
            table.drop_column(name)
