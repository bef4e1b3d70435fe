"""Empty databases on every engine, dropped again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, NullPool, create_engine, text

from .conftest import need_service

SERVERS = {
    "postgresql": "postgresql+psycopg://postgres@127.0.0.1:5432/",
    "mariadb": "mysql+pymysql://root@127.0.0.1:3306/",
}
ENGINES = ["sqlite", *SERVERS]


@contextmanager
def empty_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a new database: a file in ``folder``, or on a server of this machine."""
    if kind == "sqlite":
        yield f"sqlite:///{folder}/scratch.sqlite"
        return
    name = f"orbro_test_{uuid.uuid4().hex[:12]}"
    server = create_engine(SERVERS[kind], isolation_level="AUTOCOMMIT", poolclass=NullPool)
    need_service(kind, lambda: server.connect().close())

    def execute(statement: str) -> None:
        with server.connect() as connection:
            connection.execute(text(statement))

    execute(f"CREATE DATABASE {name}")
    try:
        yield SERVERS[kind] + name
    finally:
        execute(f"DROP DATABASE {name}" + (" WITH (FORCE)" if kind == "postgresql" else ""))


@pytest.fixture(params=ENGINES, name="engine")
def engine_fixture(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """A database without tables, of each engine."""
    with empty_database(request.param, tmp_path) as url:
        engine = create_engine(url)
        yield engine
        engine.dispose()
