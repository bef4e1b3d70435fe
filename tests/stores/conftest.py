"""Scratch databases on every engine, and the stores over them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.orm import sessionmaker

from flask_orbro.installation import Claim, Organization, prove
from flask_orbro.models import Models, own_models
from flask_orbro.stores.claims import ClaimStore
from flask_orbro.stores.organizations import OrganizationStore

from ..conftest import need_service

SERVERS = {
    "postgresql": "postgresql+psycopg://postgres@127.0.0.1:5432/",
    "mariadb": "mysql+pymysql://root@127.0.0.1:3306/",
}
NOW = 1_800_000_000.0


@dataclass
class Database:
    """A scratch database with the tables of the library."""

    name: str
    engine: Engine
    models: Models

    @property
    def sessions(self) -> Any:
        return sessionmaker(self.engine)

    @property
    def organizations(self) -> OrganizationStore:
        return OrganizationStore(self.sessions, self.models)

    def claims(self, *, in_all: int = 100, per_organization: int = 8, max_age: float = 3600) -> ClaimStore:
        return ClaimStore(
            self.sessions, self.models, in_all=in_all, per_organization=per_organization, max_age=max_age
        )

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """The statements that are sent meanwhile."""
        seen: list[str] = []

        def see(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            seen.append(statement)

        event.listen(self.engine, "before_cursor_execute", see)
        try:
            yield seen
        finally:
            event.remove(self.engine, "before_cursor_execute", see)


@pytest.fixture(scope="session", params=["sqlite", *SERVERS])
def _scratch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    if request.param == "sqlite":
        engine = create_engine(f"sqlite:///{tmp_path_factory.mktemp('db')}/scratch.sqlite")
        yield from _with_tables(request.param, engine)
        return
    name = f"orbro_test_{uuid.uuid4().hex[:12]}"
    server = create_engine(SERVERS[request.param], isolation_level="AUTOCOMMIT")
    need_service(request.param, lambda: server.connect().close())
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield from _with_tables(request.param, create_engine(SERVERS[request.param] + name, pool_size=16))
    finally:
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name}"))
        server.dispose()


def _with_tables(name: str, engine: Engine) -> Iterator[Database]:
    models = own_models()
    models.client_info.metadata.create_all(engine, tables=models.tables)
    try:
        yield Database(name, engine, models)
    finally:
        engine.dispose()


@pytest.fixture
def database(_scratch: Database) -> Iterator[Database]:
    """A scratch database without rows, on one engine after the other."""
    yield _scratch
    with _scratch.engine.begin() as connection:
        for table in _scratch.models.tables:
            connection.execute(table.delete())


@pytest.fixture
def organizations(database: Database) -> OrganizationStore:
    return database.organizations


def claim(organization_id: str = "o1", secret: str = "secret-1", **more: Any) -> Claim:
    defaults = {"digest": f"{organization_id}/{secret}"[-64:], "user_id": "u1", "subdomain": "acme"}
    return Claim(organization_id, secret, received_at=NOW, **{**defaults, **more})


def installing(of: Claim, now: float = NOW) -> Callable[[Organization | None], Organization]:
    """The transition of a proven install."""
    return lambda current: prove(current, of, now=now, window=60)
