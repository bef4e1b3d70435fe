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
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from .crypto import is_encrypted
from .errors import ConfigurationError
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


def upgrade_from_sdk(op: Any, table: str = CLIENT_INFO, schema: str | None = None) -> None:
    """Give the old SDK's table what this library needs; rows are kept, and none of them is trusted.

    Each row is pending, and the platform is asked about it with the next sweep, or when it is needed. Where
    several rows name one organization, the newest stays; the others wait as claims, so that whichever
    secret the platform accepts is the one that counts. Secrets are encrypted when a row is first written,
    and by ``flask orbro rotate-keys``. There is no way back: the old SDK cannot read them then.

    Can be run again where it was stopped half-way, on engines that do not roll back what was altered.

    :param op: Alembic's operations.
    :param table: where the app's own model names another.
    :param schema: where the tables are in another than the database's usual one.
    :raises RuntimeError: without a database to look at, as with ``--sql``, or without the table.
    """
    if op.get_context().as_sql:
        raise RuntimeError("upgrade_from_sdk looks at the rows: run it on the database, without --sql.")
    tables = sa.inspect(op.get_bind()).get_table_names(schema)
    if table not in tables:
        raise RuntimeError(f"There is no table {table!r} of the old SDK.")
    if CLAIM not in tables:
        _create_claims(op, schema)
    if DELIVERY not in tables:
        _create_deliveries(op, schema)
    _upgrade(op, table, schema, claims_schema=schema)


def _upgrade(op: Any, table: str, schema: str | None, *, claims_schema: str | None) -> None:
    bind = op.get_bind()
    there = {column["name"] for column in sa.inspect(bind).get_columns(table, schema)}
    for column in _added():
        if column.name not in there:
            op.add_column(table, column, schema=schema)
    rows = sa.table(table, *map(sa.column, (*_KEPT, "ask_at", "state", "proven_at")), schema=schema)
    _one_row_each(bind, rows, _claims(claims_schema))
    _constrain(op, bind, table, schema)


def make_tables(connection: sa.Connection, models: Models) -> str:
    """Make what is missing, for an app without migrations of its own.

    :returns: what was done, in a few words.
    :raises ImportError: where the old SDK's table is there, or half of ours, and Alembic is not.
    :raises ConfigurationError: where a table lacks what is not made here, as a column of the app's own.
    """
    inspector = sa.inspect(connection)
    tables = [(table, connection.schema_for_object(table)) for table in models.tables]
    lacks = [_lacks(inspector, table, schema) for table, schema in tables]
    (client_info, schema), (_, claims_schema), _ = tables
    is_old = bool(_OURS.intersection(lacks[0] or ()))
    for table, lacking in zip(models.tables, lacks, strict=True):
        _refuse(table, (lacking or set()) - (_OURS if table is client_info else set()))
    client_info.metadata.create_all(connection, tables=models.tables)
    if is_old:
        from alembic.operations import Operations
        from alembic.runtime.migration import MigrationContext

        op = Operations(MigrationContext.configure(connection))
        _upgrade(op, client_info.name, schema, claims_schema=claims_schema)
    indexed = [_make_indexes(connection, table, schema) for table, schema in tables]
    if is_old:
        return "The old SDK's table is brought up to date; the platform is asked about its rows."
    if None in lacks:
        return "The tables are made."
    return "The missing indexes are made." if any(indexed) else "The tables are up to date."


def _lacks(inspector: sa.Inspector, table: sa.Table, schema: str | None) -> set[str] | None:
    """What a table has not that its model wants, in words; ``None``: there is no table."""
    if not inspector.has_table(table.name, schema):
        return None
    wanted = {_column(column.name) for column in table.columns}
    there = {_column(found["name"]) for found in inspector.get_columns(table.name, schema)}
    wanted |= {
        _unique(column.name for column in item.columns)
        for item in (*table.constraints, *table.indexes)
        if isinstance(item, sa.UniqueConstraint) or (isinstance(item, sa.Index) and _is_whole(item))
    }
    there |= {
        _unique(found["column_names"]) for found in inspector.get_unique_constraints(table.name, schema)
    }
    for found in inspector.get_indexes(table.name, schema):
        is_partial = any(option.endswith("_where") for option in found.get("dialect_options", {}))
        if found["unique"] and not is_partial:
            there.add(_unique(map(str, found["column_names"])))
    return wanted - there


def _is_whole(index: sa.Index) -> bool:
    """Whether it is unique for every row, and by columns alone."""
    is_partial = any(option.endswith("_where") for option in index.dialect_kwargs)
    return index.unique and not is_partial and all(isinstance(part, sa.Column) for part in index.expressions)


def _column(name: str) -> str:
    return f"the column {name}"


def _unique(names: Iterable[str]) -> str:
    return f"a unique constraint on {' and '.join(sorted(names))}"


def _refuse(table: sa.Table, lacking: set[str]) -> None:
    if lacking:
        raise ConfigurationError(
            f"The table {table.fullname} lacks {', '.join(sorted(lacking))}; this command does not add that. "
            "Alter the table as its model wants it, then run this again."
        )


def _make_indexes(connection: sa.Connection, table: sa.Table, schema: str | None) -> bool:
    """:returns: whether any was missing, as where the making of a table was stopped half-way."""
    there = sa.inspect(connection).get_indexes(table.name, schema)
    names = {found["name"] for found in there}
    columns = {tuple(found["column_names"]) for found in there}
    missing = [
        index
        for index in table.indexes
        if not (index.unique or index.name in names or tuple(item.name for item in index.columns) in columns)
    ]
    for index in missing:
        index.create(connection)
    return bool(missing)


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


#: What a table of the old SDK lacks, or one whose upgrade was stopped half-way.
_UNIQUE = ("organization_id", "bound_subdomain")
_OURS = {_column(column.name) for column in _added()} | {_unique([name]) for name in _UNIQUE}


def _create_claims(op: Any, schema: str | None = None) -> None:
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
        sa.Column("ask_at", sa.Double(), nullable=False),
        sa.UniqueConstraint("organization_id", "digest", name="uq_connect_app_claim"),
        schema=schema,
    )
    op.create_index(f"ix_{CLAIM}_ask_at", CLAIM, ["ask_at"], schema=schema)


def _create_deliveries(op: Any, schema: str | None = None) -> None:
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
        schema=schema,
    )
    for names in (["next_attempt_at"], ["state", "id"], ["organization_id", "id"]):
        op.create_index(f"ix_{DELIVERY}_{names[0]}", DELIVERY, names, schema=schema)


def _one_row_each(bind: Any, table: Any, claims: Any) -> None:
    """Let every row wait to be asked about, and one row alone stay for each organization: the one last
    proven, else the newest.
    """
    pending = table.c.state == "pending"
    bind.execute(sa.update(table).where(pending).values(subdomain=sa.func.lower(table.c.subdomain), ask_at=0))
    repeated = sa.select(table.c.organization_id).group_by(table.c.organization_id)
    repeated = repeated.having(sa.func.count() > 1)
    rows = bind.execute(
        sa.select(*(table.c[name] for name in (*_KEPT, "proven_at"))).where(
            table.c.organization_id.in_(repeated)
        )
    ).all()
    # Sorted here: the engine may take ids for equal that are not.
    rows = sorted(rows, key=lambda row: (row.organization_id, -row.proven_at, -row.id))
    for _, same in groupby(rows, lambda row: row.organization_id):
        for row in list(same)[1:]:
            if not is_encrypted(row.shared_secret):  # else it opens in its own row alone
                bind.execute(claims.insert().values(_claim_of(row)))
            bind.execute(sa.delete(table).where(table.c.id == row.id))


def _claims(schema: str | None) -> sa.TableClause:
    names = (
        "organization_id", "digest", "shared_secret", "user_id", "subdomain", "received_at", "asked",
        "refused", "ask_at",
    )  # fmt: skip
    return sa.table(CLAIM, *map(sa.column, names), schema=schema)


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


def _constrain(op: Any, bind: Any, table: str, schema: str | None) -> None:
    inspector = sa.inspect(bind)
    unique = {tuple(found["column_names"]) for found in inspector.get_unique_constraints(table, schema)}
    indexed = {tuple(found["column_names"]) for found in inspector.get_indexes(table, schema)}
    with op.batch_alter_table(table, schema=schema) as batch:
        batch.alter_column("organization_id", existing_type=sa.String(255), type_=Identifier, nullable=False)
        batch.alter_column(
            "installed_user_id", existing_type=sa.String(255), type_=Identifier, existing_nullable=True
        )
        batch.alter_column(
            "shared_secret", existing_type=sa.String(255), type_=sa.String(1024), existing_nullable=False
        )
        for name in _UNIQUE:
            if (name,) not in unique:
                batch.create_unique_constraint(f"uq_{table}_{name}", [name])
    for name in ("subdomain", "installed_user_id", "ask_at", "uninstalled_at"):
        if (name,) not in indexed:
            # None: the name that a column has with index=True.
            op.create_index(None, table, [name], schema=schema)
