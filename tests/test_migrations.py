"""From the old SDK's table, as it stands in somebody's database, on every engine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import flask_migrate
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, sessionmaker

import example_app
from flask_orbro import ConnectAppClientInfoMixin, NotAllowed, OrbroConnect, migrations
from flask_orbro.cli import orbro as commands
from flask_orbro.installation import State
from flask_orbro.models import own_models
from flask_orbro.simulator.models import Installation
from flask_orbro.state import get_state

from .conftest import DESCRIPTOR
from .databases import ENGINES, empty_database
from .lifecycle_world import MakeWorld, World, make_world_fixture  # noqa: F401

SECRET, OTHER = "s" * 43, "t" * 255

#: The platform's Python SDK 0.23 makes this table.
OLD_TABLE = """
    sa.Column("id", sa.Integer(), primary_key=True),
    sa.Column("organization_id", sa.String(255), nullable=False),
    sa.Column("shared_secret", sa.String(255), nullable=False),
    sa.Column("subdomain", sa.String(255)),
    sa.Column("installed_user_id", sa.String(255)),
    sa.Column("created_time", sa.DateTime(), default=sa.func.now()),
    sa.Column("updated_time", sa.DateTime(), default=sa.func.now()),
"""
FIRST = f"""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "first", None
def upgrade():
    op.create_table("connect_app_client_info", {OLD_TABLE})
"""
SECOND = """
from alembic import op
from flask_orbro import migrations
revision, down_revision = "second", "first"
def upgrade():
    migrations.upgrade_from_sdk(op)
"""


@dataclass
class History:
    """Somebody's app with a migration history of its own, that begins with the old SDK's table."""

    world: World
    db: SQLAlchemy
    folder: Path

    @property
    def app(self) -> Flask:
        return self.world.app

    def upgrade(self, *scripts: str) -> None:
        for script in scripts:
            name = "first" if script is FIRST else "second"
            (self.folder / "versions" / f"{name}.py").write_text(script)
        with self.app.app_context():
            flask_migrate.upgrade(str(self.folder))

    def differences(self) -> list[Any]:
        with self.app.app_context(), self.db.engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            return list(compare_metadata(context, self.db.metadata))

    def insert(self, *rows: dict[str, Any]) -> None:
        names = ["organization_id", "shared_secret", "subdomain", "installed_user_id"]
        table = sa.table("connect_app_client_info", *map(sa.column, names))
        with self.app.app_context(), self.db.engine.begin() as connection:
            for row in rows:
                usual = {"shared_secret": SECRET, "subdomain": None, "installed_user_id": None}
                connection.execute(table.insert().values(usual | row))

    def select(self, *names: str, table: str = "connect_app_client_info") -> list[tuple[Any, ...]]:
        found = sa.table(table, *map(sa.column, (*names, "id")))
        query = sa.select(*(found.c[name] for name in names)).order_by(found.c.id)
        with self.app.app_context(), self.db.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(query)]


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with empty_database(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def history(url: str, make_world: MakeWorld, tmp_path: Path) -> Iterator[History]:
    db = SQLAlchemy()
    world = make_world(OrbroConnect(db=db), SQLALCHEMY_DATABASE_URI=url)
    db.init_app(world.app)
    folder = tmp_path / "migrations"
    flask_migrate.Migrate(world.app, db, directory=str(folder))
    with world.app.app_context():
        flask_migrate.init(str(folder))
    # The one that Flask-Migrate writes sets up logging anew, for the whole process.
    shutil.copy(Path(example_app.__file__).parent / "migrations" / "env.py", folder)
    yield History(world, db, folder)
    with world.app.app_context():
        db.engine.dispose()


def test_a_fresh_database_goes_through_the_whole_history(history: History) -> None:
    history.upgrade(FIRST, SECOND)
    assert history.differences() == []
    with history.app.app_context():
        flask_migrate.check(str(history.folder))


def test_the_models_make_the_same_tables_without_the_old_sdk(history: History) -> None:
    with history.app.app_context():
        flask_migrate.migrate(str(history.folder), message="fresh")
        flask_migrate.upgrade(str(history.folder))
    assert history.differences() == []


def test_rows_are_kept_and_wait_to_be_proven(history: History) -> None:
    history.upgrade(FIRST)
    history.insert(
        {"organization_id": "o1", "subdomain": "ACME", "installed_user_id": "u1"},
        {"organization_id": "O1", "shared_secret": OTHER},
        {"organization_id": "o2", "subdomain": "evil.example/#"},
    )
    history.upgrade(SECOND)
    assert history.differences() == []
    assert history.select("organization_id", "shared_secret", "installed_user_id", "state", "ask_at") == [
        ("o1", SECRET, "u1", "pending", 0),
        ("O1", OTHER, None, "pending", 0),
        ("o2", SECRET, None, "pending", 0),
    ]
    organizations = history.world.state.organizations
    found = {item.organization_id: item for item in organizations.all()}
    assert {item.state for item in found.values()} == {State.PENDING}
    assert (found["o1"].subdomain, found["O1"].shared_secret) == ("acme", OTHER)
    assert found["o2"].subdomain is None  # never the name of a host
    assert organizations.named("acme") == [found["o1"]]


def test_of_several_rows_of_one_organization_the_newest_stays_and_the_others_wait(history: History) -> None:
    history.upgrade(FIRST)
    history.insert(
        *({"organization_id": "o1", "shared_secret": letter * 40, "subdomain": "acme"} for letter in "abc"),
        {"organization_id": "o2"},
        {"organization_id": "o2", "shared_secret": OTHER, "subdomain": "x" * 255},
        {"organization_id": "o2", "shared_secret": OTHER, "installed_user_id": "u2"},
    )
    history.upgrade(SECOND)
    assert history.select("organization_id", "shared_secret", "installed_user_id") == [
        ("o1", "c" * 40, None), ("o2", OTHER, "u2"),
    ]  # fmt: skip
    claims = history.world.state.claims
    assert {claim.shared_secret for claim in claims.of_organization("o1")} == {"a" * 40, "b" * 40}
    assert [claim.subdomain for claim in claims.of_organization("o2")] == [None, None]
    assert history.differences() == []


def test_a_migration_that_was_stopped_half_way_is_run_again(history: History) -> None:
    history.upgrade(FIRST)
    history.insert(*({"organization_id": "o1", "shared_secret": letter * 40} for letter in "ab"))
    with history.app.app_context(), history.db.engine.begin() as connection:
        operations = Operations(MigrationContext.configure(connection))
        operations.add_column("connect_app_client_info", migrations._added()[0])
        migrations._create_claims(operations)
    history.upgrade(SECOND)
    assert history.differences() == []
    assert len(history.select("organization_id")) == 1


def test_every_column_of_the_models_is_there() -> None:
    old = {"id", "organization_id", "shared_secret", "subdomain", "installed_user_id"}
    old |= {"created_time", "updated_time"}
    added = {column.name for column in migrations._added()}
    assert added == set(own_models().client_info.__table__.c.keys()) - old


@pytest.mark.parametrize(
    ("down_revision", "sql", "says"),
    [('"first"', True, "without --sql"), ("None", False, "no table 'connect_app_client_info'")],
)
def test_what_it_cannot_do_is_one_sentence(
    history: History, caplog: pytest.LogCaptureFixture, down_revision: str, sql: bool, says: str
) -> None:
    if sql:
        (history.folder / "versions" / "first.py").write_text(FIRST)
    (history.folder / "versions" / "second.py").write_text(SECOND.replace('"first"', down_revision))
    with history.app.app_context(), pytest.raises(SystemExit):
        flask_migrate.upgrade(str(history.folder), sql=sql)
    assert says in caplog.text


def installed_long_ago(world: World) -> str:
    """The secret of an install that only the platform and the old SDK know of."""
    organization = world.platform.organization("acme")
    row = Installation(
        id="long-ago",
        app_url=world.url,
        organization_id=organization.id,
        installed_user_id=str(world.platform.user(organization)["id"]),
        shared_secret=SECRET,
        client_id=world.state.config.client_id,
        client_secret=None,
        descriptor=DESCRIPTOR,
    )
    world.platform.put_installation("acme", row)
    return SECRET


@pytest.mark.parametrize("need", ["me", "webhook", "sweep", "call"])
def test_after_the_migration_an_organization_works_on_once_the_platform_accepts_it(
    history: History, need: str
) -> None:
    world = history.world
    history.upgrade(FIRST)
    genuine = {"organization_id": world.organization_id, "shared_secret": installed_long_ago(world)}
    genuine |= {"subdomain": "acme"}
    forged = {"organization_id": "forged", "shared_secret": OTHER, "subdomain": "acme"}
    # The forged row of the same organization is newer: the old SDK let anybody write one.
    history.insert(forged, genuine, genuine | {"shared_secret": OTHER})
    history.upgrade(SECOND)
    if need == "sweep":
        world.sweep()
    elif need == "call":
        with pytest.raises(NotAllowed), world.app.app_context():
            world.state.platform.client_for("forged")
        world.sweep()
    else:
        assert getattr(world, need)() == 200
    stored = world.stored
    assert stored is not None
    assert (stored.state, stored.shared_secret, stored.bound_subdomain) == (State.ACTIVE, SECRET, "acme")
    assert world.state.organizations.get("forged").state is State.PENDING  # type: ignore[union-attr]
    assert (world.me(), world.webhook()) == (200, 200)
    assert ("app-installed", world.organization_id) in world.signals
    secrets = dict(history.select("organization_id", "shared_secret"))
    assert secrets[world.organization_id].startswith("orbro1:")


def test_keys_are_rotated_over_what_the_old_sdk_has_left(history: History) -> None:
    history.upgrade(FIRST)
    history.insert({"organization_id": "o1"}, {"organization_id": "o1", "shared_secret": OTHER})
    history.upgrade(SECOND)
    result = history.app.test_cli_runner().invoke(commands, ["rotate-keys"])
    assert result.exit_code == 0
    for table in ("connect_app_client_info", "connect_app_claim"):
        assert all(secret.startswith("orbro1:") for (secret,) in history.select("shared_secret", table=table))
    assert history.world.state.organizations.get("o1").shared_secret == OTHER  # type: ignore[union-attr]


def test_an_operator_can_approve_what_the_old_sdk_has_left(history: History) -> None:
    history.upgrade(FIRST)
    history.insert({"organization_id": "o1"})
    history.upgrade(SECOND)
    history.world.sweep()
    arguments = ["organizations", "approve", "o1", "--subdomain", "acme"]
    result = history.app.test_cli_runner().invoke(commands, arguments)
    assert (result.exit_code, result.output) == (0, "o1 is active.\n")
    assert history.world.state.organizations.bound_to("acme").shared_secret == SECRET  # type: ignore[union-attr]


def raw_old_table(url: str) -> sa.Engine:
    engine = sa.create_engine(url)
    columns = eval(f"[{OLD_TABLE}]", {"sa": sa})
    table = sa.Table("connect_app_client_info", sa.MetaData(), *columns)
    table.create(engine)
    with engine.begin() as connection:
        values = {"organization_id": "o1", "shared_secret": SECRET, "subdomain": "Acme"}
        connection.execute(table.insert().values(values))
    return engine


def test_without_migrations_a_command_brings_the_table_up_to_date(url: str, make_app: Any) -> None:
    engine = raw_old_table(url)
    app = make_app(OrbroConnect(db_session_maker=sessionmaker(engine)))
    run = partial(app.test_cli_runner().invoke, commands, ["upgrade-database"])
    assert run().output.startswith("The old SDK's table is brought up to date")
    assert run().output == "The tables are up to date.\n"
    stored = get_state(app).organizations.get("o1")
    assert stored is not None
    assert (stored.state, stored.shared_secret, stored.subdomain) == (State.PENDING, SECRET, "acme")
    models = get_state(app).models
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), models.client_info.metadata) == []
    engine.dispose()


def test_the_command_makes_the_tables_of_an_own_model(url: str, make_app: Any) -> None:
    class Base(DeclarativeBase):
        pass

    class Info(Base, ConnectAppClientInfoMixin):
        pass

    engine = sa.create_engine(url)
    app = make_app(OrbroConnect(db_session_maker=sessionmaker(engine), client_info_model=Info))
    result = app.test_cli_runner().invoke(commands, ["upgrade-database"])
    assert result.output == "The tables are made.\n"
    assert get_state(app).claims.count() == 0
    engine.dispose()


def test_the_command_leaves_an_app_with_migrations_alone(history: History) -> None:
    result = history.app.test_cli_runner().invoke(commands, ["upgrade-database"])
    assert (result.exit_code, "flask db upgrade" in result.output) == (1, True)
