"""Empty databases on every engine, dropped again."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import NullPool, create_engine, text

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
