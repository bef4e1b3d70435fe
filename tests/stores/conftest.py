"""Scratch databases on every engine, and the stores over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.orm import sessionmaker

from flask_orbro.crypto import KeyRing
from flask_orbro.installation import Claim, Organization, prove
from flask_orbro.models import Models, own_models
from flask_orbro.stores.claims import ClaimStore
from flask_orbro.stores.inbox import InboxStore
from flask_orbro.stores.organizations import OrganizationStore
from flask_orbro.stores.records import Records

from ..databases import ENGINES, empty_database

NOW = 1_800_000_000.0
KEYS = KeyRing([b"k" * 32])


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
    def records(self) -> Records:
        return Records(KEYS)

    @property
    def organizations(self) -> OrganizationStore:
        return OrganizationStore(self.sessions, self.models, self.records)

    def claims(self, **bounds: float) -> ClaimStore:
        usual: dict[str, Any] = {"in_all": 100, "per_organization": 8, "max_age": 3600}
        return ClaimStore(self.sessions, self.models, self.records, **usual | bounds)

    @property
    def inbox(self) -> InboxStore:
        return InboxStore(self.sessions, self.models)

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


@pytest.fixture(scope="session", params=ENGINES)
def _scratch(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with empty_database(request.param, tmp_path_factory.mktemp("db")) as url:
        options = {} if request.param == "sqlite" else {"pool_size": 16}
        yield from _with_tables(request.param, create_engine(url, **options))


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
