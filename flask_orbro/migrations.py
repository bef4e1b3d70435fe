"""From the old SDK's table to this library's, for a migration script of the app's own:

.. code-block:: python

    from alembic import op
    from flask_orbro import migrations

    def upgrade():
        migrations.upgrade_from_sdk(op)

What it makes is the schema of this library's first release, whatever is installed by then, so that later
scripts of the same history find what they expect.
"""

from __future__ import annotations

import hashlib
import time
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from .models import (
    Body,
    ConnectAppClaimMixin,
    ConnectAppClientInfoMixin,
    ConnectAppDeliveryMixin,
    Identifier,
    LongText,
    Models,
    Serial,
)

CLIENT_INFO = ConnectAppClientInfoMixin.__tablename__
CLAIM = ConnectAppClaimMixin.__tablename__
DELIVERY = ConnectAppDeliveryMixin.__tablename__
#: A subdomain that was claimed is kept in as many characters as one can have.
LABEL = 63


def upgrade_from_sdk(op: Any, table: str = CLIENT_INFO) -> None:
    """Give the old SDK's table what this library needs; rows are kept, and none of them is trusted.

    Each row is pending, and the platform is asked about it with the next sweep, or when it is needed. Where
    several rows name one organization, the newest stays; the others wait as claims, so that whichever
    secret the platform accepts is the one that counts. Secrets are encrypted when a row is first written,
    and by ``flask orbro rotate-keys``. There is no way back: the old SDK cannot read them then.

    Can be run again where it was stopped half-way, on engines that do not roll back what was altered.

    :param op: Alembic's operations.
    :param table: where the app's own model names another.
    :raises RuntimeError: without a database to look at, as with ``--sql``, or without the table.
    """
    if op.get_context().as_sql:
        raise RuntimeError("upgrade_from_sdk looks at the rows: run it on the database, without --sql.")
    bind = op.get_bind()
    tables = sa.inspect(bind).get_table_names()
    if table not in tables:
        raise RuntimeError(f"There is no table {table!r} of the old SDK.")
    if CLAIM not in tables:
        _create_claims(op)
    if DELIVERY not in tables:
        _create_deliveries(op)
    there = {column["name"] for column in sa.inspect(bind).get_columns(table)}
    for column in _added():
        if column.name not in there:
            op.add_column(table, column)
    _one_row_each(bind, sa.table(table, *map(sa.column, (*_KEPT, "ask_at", "state"))))
    _constrain(op, bind, table)


def make_tables(connection: sa.Connection, models: Models) -> str:
    """Make what is missing, for an app without migrations of its own.

    :returns: what was done, in a few words.
    :raises ImportError: where the old SDK's table is there, and Alembic is not.
    """
    table = models.client_info.__table__.name
    inspector = sa.inspect(connection)
    if not inspector.has_table(table):
        models.client_info.metadata.create_all(connection, tables=models.tables)
        return "The tables are made."
    if "state" in {column["name"] for column in inspector.get_columns(table)}:
        return "The tables are up to date."
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext

    upgrade_from_sdk(Operations(MigrationContext.configure(connection)), table)
    return "The old SDK's table is brought up to date; the platform is asked about its rows."


_KEPT = ("id", "organization_id", "shared_secret", "subdomain", "installed_user_id")


def _added() -> list[sa.Column[Any]]:
    return [
        sa.Column("state", sa.String(16), nullable=False, server_default="pending"),
        sa.Column("bound_subdomain", sa.String(LABEL)),
        sa.Column("previous_secret", sa.String(1024)),
        sa.Column("previous_secret_until", sa.Double(), nullable=False, server_default="0"),
        sa.Column("proven_at", sa.Double(), nullable=False, server_default="0"),
        sa.Column("binding_proven_at", sa.Double(), nullable=False, server_default="0"),
        sa.Column("uninstall_requested_at", sa.Double()),
        sa.Column("refused_at", sa.Double()),
        sa.Column("asked", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("ask_at", sa.Double()),
        sa.Column("enabled", sa.Boolean()),
        sa.Column("approved", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("uninstalled_at", sa.Double()),
        sa.Column("last_seen_at", sa.Double()),
        sa.Column("history", sa.Text()),
        sa.Column("version", sa.Integer(), nullable=False, server_default="0"),
    ]


def _create_claims(op: Any) -> None:
    op.create_table(
        CLAIM,
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("organization_id", Identifier, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("shared_secret", sa.String(1024), nullable=False),
        sa.Column("user_id", Identifier),
        sa.Column("subdomain", sa.String(LABEL), index=True),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("ask_at", sa.Double(), nullable=False, index=True),
        sa.UniqueConstraint("organization_id", "digest", name="uq_connect_app_claim"),
    )


def _create_deliveries(op: Any) -> None:
    op.create_table(
        DELIVERY,
        sa.Column("id", Serial, primary_key=True),
        sa.Column("organization_id", Identifier, nullable=False),
        sa.Column("user_id", Identifier),
        sa.Column("event", Identifier),
        sa.Column("path", sa.String(255), nullable=False),
        sa.Column("payload", Body, nullable=False),
        sa.Column("headers", LongText, nullable=False),
        sa.Column("trace_id", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("unique_digest", sa.String(64)),
        sa.Column("duplicate_of", sa.BigInteger()),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("next_attempt_at", sa.Double()),
        sa.Column("lease", sa.String(32)),
        sa.Column("progress", LongText),
        sa.Column("last_error", LongText),
        sa.Column("duration", sa.Double()),
        sa.UniqueConstraint("unique_digest", name=f"uq_{DELIVERY}"),
    )
    op.create_index(f"ix_{DELIVERY}_next_attempt_at", DELIVERY, ["next_attempt_at"])
    op.create_index(f"ix_{DELIVERY}_state", DELIVERY, ["state", "id"])
    op.create_index(f"ix_{DELIVERY}_organization_id", DELIVERY, ["organization_id", "id"])


def _one_row_each(bind: Any, table: Any) -> None:
    """Let every row wait to be asked about, and one row alone stay for each organization."""
    pending = table.c.state == "pending"
    bind.execute(sa.update(table).where(pending).values(subdomain=sa.func.lower(table.c.subdomain), ask_at=0))
    repeated = sa.select(table.c.organization_id).group_by(table.c.organization_id)
    repeated = repeated.having(sa.func.count() > 1)
    rows = bind.execute(
        sa.select(*(table.c[name] for name in _KEPT))
        .where(table.c.organization_id.in_(repeated))
        .order_by(table.c.id.desc())
    ).all()
    # Sorted here: the engine may take ids for equal that are not.
    for _, same in groupby(sorted(rows, key=lambda row: (row.organization_id, -row.id)), lambda row: row[1]):
        for row in list(same)[1:]:
            bind.execute(_claims.insert().values(_claim_of(row)))
            bind.execute(sa.delete(table).where(table.c.id == row.id))


_claims = sa.table(
    CLAIM,
    *map(
        sa.column,
        (
            "organization_id", "digest", "shared_secret", "user_id", "subdomain", "received_at", "asked",
            "refused", "ask_at",
        ),
    ),
)  # fmt: skip


def _claim_of(row: Any) -> dict[str, Any]:
    subdomain = row.subdomain if row.subdomain and len(row.subdomain) <= LABEL else None
    return {
        "organization_id": row.organization_id,
        "digest": hashlib.sha256(f"row {row.id}".encode()).hexdigest(),
        "shared_secret": row.shared_secret,
        "user_id": row.installed_user_id,
        "subdomain": subdomain,
        "received_at": time.time(),
        "asked": 0,
        "refused": 0,
        "ask_at": 0,
    }


def _constrain(op: Any, bind: Any, table: str) -> None:
    inspector = sa.inspect(bind)
    unique = {tuple(found["column_names"]) for found in inspector.get_unique_constraints(table)}
    indexed = {tuple(found["column_names"]) for found in inspector.get_indexes(table)}
    with op.batch_alter_table(table) as batch:
        batch.alter_column("organization_id", existing_type=sa.String(255), type_=Identifier, nullable=False)
        batch.alter_column(
            "installed_user_id", existing_type=sa.String(255), type_=Identifier, existing_nullable=True
        )
        batch.alter_column(
            "shared_secret", existing_type=sa.String(255), type_=sa.String(1024), existing_nullable=False
        )
        for name in ("organization_id", "bound_subdomain"):
            if (name,) not in unique:
                batch.create_unique_constraint(f"uq_{table}_{name}", [name])
    for name in ("subdomain", "installed_user_id", "ask_at", "uninstalled_at"):
        if (name,) not in indexed:
            op.create_index(f"ix_{table}_{name}", table, [name])
