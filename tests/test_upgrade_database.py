"""``flask orbro upgrade-database``: whatever is missing is made, or named."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from flask import Flask
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from flask_orbro import ConnectAppClientInfoMixin, OrbroConnect, migrations
from flask_orbro.cli import orbro as commands
from flask_orbro.crypto import MARK
from flask_orbro.models import map_models
from flask_orbro.state import get_state

from .databases import empty_database, engine_fixture  # noqa: F401
from .lifecycle_world import MakeWorld, make_world_fixture  # noqa: F401
from .test_migrations import OLD_TABLE, SECRET

CLIENT_INFO, CLAIM = migrations.CLIENT_INFO, migrations.CLAIM
DONE = "The old SDK's table is brought up to date; the platform is asked about its rows.\n"
UP_TO_DATE = "The tables are up to date.\n"


def own_base(schema: str | None = None) -> Any:
    class Base(DeclarativeBase):
        metadata = sa.MetaData(schema=schema)

    return Base


def own_model(base: Any) -> Any:
    class Info(base, ConnectAppClientInfoMixin):  # type: ignore[misc]
        pass

    return Info


def orbro_of(engine: sa.Engine, model: Any) -> OrbroConnect:
    return OrbroConnect(db_session_maker=sessionmaker(engine), client_info_model=model)


def old_table(engine: sa.Engine, schema: str | None = None) -> sa.Table:
    columns = eval(f"[{OLD_TABLE}]", {"sa": sa})
    table = sa.Table(CLIENT_INFO, sa.MetaData(), *columns, schema=schema)
    table.create(engine)
    return table


def upgrade(app: Flask) -> tuple[int, str]:
    outcome = app.test_cli_runner().invoke(commands, ["upgrade-database"])
    return outcome.exit_code, outcome.output


def differences(engine: sa.Engine, metadata: sa.MetaData) -> list[Any]:
    with engine.connect() as connection:
        options = {"compare_type": True, "include_schemas": metadata.schema is not None}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def add_columns(op: Operations, most: int | None = None) -> None:
    for column in migrations._added()[:most]:
        op.add_column(CLIENT_INFO, column)


def add_all_but_indexes(op: Operations) -> None:
    migrations._create_claims(op)
    migrations._create_deliveries(op)
    add_columns(op)
    with op.batch_alter_table(CLIENT_INFO) as batch:
        for name in ("organization_id", "bound_subdomain"):
            batch.create_unique_constraint(f"uq_{CLIENT_INFO}_{name}", [name])


def add_one_constraint(op: Operations) -> None:
    migrations._create_claims(op)
    add_columns(op)
    with op.batch_alter_table(CLIENT_INFO) as batch:
        batch.create_unique_constraint(f"uq_{CLIENT_INFO}_organization_id", ["organization_id"])


HALVES: dict[str, Callable[[Operations], None]] = {
    "after the first column": partial(add_columns, most=1),
    "after some columns": partial(add_columns, most=5),
    "after the columns": add_columns,
    "after one constraint": add_one_constraint,
}


@pytest.mark.parametrize("half", HALVES)
def test_an_upgrade_that_was_stopped_half_way_is_finished(
    engine: sa.Engine, make_app: Callable[..., Flask], half: str
) -> None:
    table, model = old_table(engine), own_model(own_base())
    with engine.begin() as connection:
        HALVES[half](Operations(MigrationContext.configure(connection)))
    app = make_app(orbro_of(engine, model))
    assert [upgrade(app), upgrade(app)] == [(0, DONE), (0, UP_TO_DATE)]
    assert differences(engine, model.metadata) == []
    rows = [{"organization_id": "o1", "shared_secret": SECRET}] * 2
    with engine.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(table.insert(), rows)


def test_indexes_that_are_missing_are_made(engine: sa.Engine, make_app: Callable[..., Flask]) -> None:
    old_table(engine)
    model = own_model(own_base())
    with engine.begin() as connection:
        add_all_but_indexes(Operations(MigrationContext.configure(connection)))
    app = make_app(orbro_of(engine, model))
    assert [upgrade(app), upgrade(app)] == [(0, "The missing indexes are made.\n"), (0, UP_TO_DATE)]
    found = sa.inspect(engine).get_indexes(CLIENT_INFO)
    assert ["ask_at"] in [index["column_names"] for index in found]


def test_tables_are_made_beside_a_model_that_was_made_before(
    engine: sa.Engine, make_world: MakeWorld
) -> None:
    model = own_model(own_base())
    model.metadata.create_all(engine)
    world = make_world(orbro_of(engine, model))
    assert world.install().status == 503
    assert [upgrade(world.app), upgrade(world.app)] == [(0, "The tables are made.\n"), (0, UP_TO_DATE)]
    assert world.install().status == 200
    assert differences(engine, model.metadata) == []


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("of_all", [True, False])
def test_tables_may_be_in_a_schema(engine: sa.Engine, make_world: MakeWorld, old: bool, of_all: bool) -> None:
    schema = schema_of(engine)
    if of_all:
        model = own_model(own_base(schema))
    else:
        base = own_base()
        model = type("Info", (base, ConnectAppClientInfoMixin), {"__table_args__": {"schema": schema}})
    if old:
        table = old_table(engine, schema)
        rows = [{"organization_id": "o1", "shared_secret": letter * 40} for letter in "ab"]
        with engine.begin() as connection:
            connection.execute(table.insert(), rows)
    world = make_world(orbro_of(engine, model))
    first = DONE if old else "The tables are made.\n"
    assert [upgrade(world.app), upgrade(world.app)] == [(0, first), (0, UP_TO_DATE)]
    assert world.state.claims.count() == int(old)
    assert world.install().status == 200
    assert world.me() == 200
    claims_schema = schema if of_all else None
    assert sa.inspect(engine).has_table(CLAIM, claims_schema)
    if of_all and engine.name == "postgresql":
        assert differences(engine, model.metadata) == []
        assert not sa.inspect(engine).get_table_names()


def schema_of(engine: sa.Engine) -> str:
    """A schema that no table is looked for in unless it is named, where the engine knows of such."""
    if engine.name != "postgresql":
        return "main" if engine.name == "sqlite" else str(engine.url.database)
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema("app"))
    return "app"


def test_a_migration_of_the_apps_own_may_name_a_schema(engine: sa.Engine) -> None:
    schema = schema_of(engine)
    old_table(engine, schema)
    model = own_model(own_base(schema))
    models = map_models(model.__mro__[1], model)
    for _ in range(2):
        with engine.begin() as connection:
            operations = Operations(MigrationContext.configure(connection))
            migrations.upgrade_from_sdk(operations, schema=schema)
    with engine.begin() as connection:
        assert migrations.make_tables(connection, models) + "\n" == UP_TO_DATE
    if engine.name == "postgresql":
        assert differences(engine, model.metadata) == []


def test_what_it_cannot_add_is_named_and_nothing_is_done(
    engine: sa.Engine, make_app: Callable[..., Flask]
) -> None:
    class Info(own_base(), ConnectAppClientInfoMixin):  # type: ignore[misc]
        nickname: Mapped[str | None] = mapped_column(sa.String(40))
        badge: Mapped[str | None] = mapped_column(sa.String(40), unique=True)

    old_table(engine)
    app = make_app(orbro_of(engine, Info))
    code, output = upgrade(app)
    assert code == 1
    assert (
        f"The table {CLIENT_INFO} lacks a unique constraint on badge, the column badge, the column nickname"
        in output
    )
    assert "state" not in output
    assert sa.inspect(engine).get_table_names() == [CLIENT_INFO]
    with engine.begin() as connection:
        operations = Operations(MigrationContext.configure(connection))
        for name in ("nickname", "badge"):
            operations.add_column(CLIENT_INFO, sa.Column(name, sa.String(40)))
        operations.create_index("one_badge", CLIENT_INFO, ["badge"], unique=True)
    assert [upgrade(app), upgrade(app)] == [(0, DONE), (0, UP_TO_DATE)]


def test_what_is_unique_by_an_index_is_up_to_date(engine: sa.Engine, make_app: Callable[..., Flask]) -> None:
    class Info(own_base(), ConnectAppClientInfoMixin):  # type: ignore[misc]
        __table_args__ = (
            sa.Index("one_each", "organization_id", unique=True),
            sa.Index("one_bound", "bound_subdomain", unique=True),
            sa.Index("by_some", "nickname", "ask_at"),
        )
        organization_id: Mapped[str] = mapped_column(sa.String(255), nullable=False)
        bound_subdomain: Mapped[str | None] = mapped_column(sa.String(63))
        nickname: Mapped[str | None] = mapped_column(sa.String(40))

    app = make_app(orbro_of(engine, Info))
    assert [upgrade(app), upgrade(app)] == [(0, "The tables are made.\n"), (0, UP_TO_DATE)]
    with engine.begin() as connection:
        Operations(MigrationContext.configure(connection)).drop_index("one_bound", CLIENT_INFO)
    assert [upgrade(app), upgrade(app)] == [(0, DONE), (0, UP_TO_DATE)]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_is_unique_for_some_rows_alone_does_not_count(
    kind: str, tmp_path: Path, make_app: Callable[..., Flask]
) -> None:
    with empty_database(kind, tmp_path) as url:
        engine, model = sa.create_engine(url), own_model(own_base())
        app = make_app(orbro_of(engine, model))
        old_table(engine)
        with engine.begin() as connection:
            operations = Operations(MigrationContext.configure(connection))
            migrations._create_claims(operations)
            add_columns(operations)
            for name in ("organization_id", "bound_subdomain"):
                where: dict[str, Any] = {f"{kind}_where": sa.text("state = 'active'")}
                operations.create_index(f"one_{name}", CLIENT_INFO, [name], unique=True, **where)
        assert upgrade(app) == (0, DONE)
        engine.dispose()


def test_of_the_rows_that_met_in_half_a_table_the_one_last_proven_stays(
    engine: sa.Engine, make_app: Callable[..., Flask]
) -> None:
    old_table(engine)
    names = ("organization_id", "shared_secret", "state", "proven_at")
    rows = [
        ("o1", MARK + "sealed", "active", 2.0),
        ("o1", SECRET, "pending", 0.0),
        ("o1", MARK + "of another row", "pending", 0.0),
        ("o2", "a" * 40, "pending", 0.0),
        ("o2", "b" * 40, "pending", 0.0),
    ]
    table = sa.table(CLIENT_INFO, *map(sa.column, names))
    with engine.begin() as connection:
        add_columns(Operations(MigrationContext.configure(connection)))
        connection.execute(table.insert(), [dict(zip(names, row, strict=True)) for row in rows])
    app = make_app(orbro_of(engine, own_model(own_base())))
    assert upgrade(app) == (0, DONE)
    claims = get_state(app).claims
    with engine.connect() as connection:
        kept = connection.execute(sa.select(table).order_by(table.c.organization_id)).all()
    assert [tuple(row) for row in kept] == [rows[0], rows[4]]
    waiting = [claims.of_organization(name) for name in ("o1", "o2")]
    assert [[claim.shared_secret for claim in some] for some in waiting] == [[SECRET], ["a" * 40]]
