"""Opening the database and bringing it up to date."""

from __future__ import annotations

import os
import threading
import time
from functools import cache
from typing import Any

from alembic import command
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from flask import Flask
from sqlalchemy import Engine, StaticPool, event
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from flask_orbro import ConfigurationError

from .extensions import db, migrate

#: How long another process may take for the migrations that both began (seconds).
PATIENCE = 15.0

# alembic works through module globals: one thread at a time.
_migrating = threading.Lock()


def init_database(app: Flask) -> None:
    """Bind the database to the app. Nothing is connected to, but a SQLite file is made.

    :raises ConfigurationError: naming the database and what is wrong with it.
    """
    try:
        db.init_app(app)
        with app.app_context():
            _prepare_sqlite(db.engine)
    except OSError as error:
        raise ConfigurationError(
            f"The database cannot be made at {error.filename}: {error.strerror}. Make the folder writable, "
            "or name another database with FLASK_SQLALCHEMY_DATABASE_URI."
        ) from None
    except ArgumentError:
        raise ConfigurationError(
            "SQLALCHEMY_DATABASE_URI must be a URL such as postgresql+psycopg://user@host/name."
        ) from None
    except ImportError as error:
        raise ConfigurationError(f"SQLALCHEMY_DATABASE_URI needs a driver: {error}.") from None
    migrate.init_app(app)


def check_database() -> None:
    """Look whether the database can be worked with; to be called in an app context.

    :raises ConfigurationError: it is out of reach, or lacks migrations.
    """
    name = db.engine.url.render_as_string(hide_password=True)
    try:
        revision = MigrationContext.configure(db.session.connection()).get_current_revision()
    except SQLAlchemyError as error:
        raise ConfigurationError(f"The database {name} cannot be opened: {_reason(error)}.") from None
    # One that is not known here is of a newer app, whose migrations come before it is started.
    if revision is None or revision in _older_revisions():
        raise ConfigurationError(
            f"The database {name} lacks migrations. Run them with: python manage.py db upgrade"
        )


@cache
def _older_revisions() -> set[str]:
    scripts = ScriptDirectory.from_config(migrate.get_config())
    return {script.revision for script in scripts.walk_revisions()} - set(scripts.get_heads())


def upgrade_database(app: Flask) -> None:
    """Run the migrations that the database lacks; several processes may do so at once.

    :raises ConfigurationError: the database is out of reach, or a migration fails.
    """
    with _migrating, app.app_context():
        engine = db.engine
        name = engine.url.render_as_string(hide_password=True)
        try:
            engine.connect().close()
        except DBAPIError as error:
            raise ConfigurationError(f"The database {name} cannot be opened: {_reason(error)}.") from None
        try:
            _upgrade(time.monotonic() + PATIENCE)
        except (DBAPIError, CommandError) as error:
            raise ConfigurationError(f"The migrations of {name} failed: {_reason(error)}.") from error
        # Servers fork after this, and a connection must not be shared; one in memory must be kept.
        if not isinstance(engine.pool, StaticPool):
            engine.dispose()


def _upgrade(deadline: float) -> None:
    config = migrate.get_config()
    while True:
        try:
            command.upgrade(config, "head")
            return
        except (DBAPIError, CommandError):
            # Another process may be ahead of us in the same migration: then there is nothing left to
            # do the next time. No database offers a lock that all of them know.
            if time.monotonic() > deadline:
                raise
        time.sleep(0.25)


def _reason(error: Exception) -> str:
    """The first line of the driver's own words, without SQL and parameters."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0].rstrip(".")


def _prepare_sqlite(engine: Engine) -> None:
    path = engine.url.database
    if engine.dialect.name != "sqlite" or isinstance(engine.pool, StaticPool) or not path:
        return
    if not path.startswith("file:"):
        # For its owner alone: it holds what organizations share with the app.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))

    @event.listens_for(engine, "connect")
    def readers_do_not_wait_for_writers(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
