"""Where an app's tables and cached values live: what the user brings, or what we make."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import create_engine, event
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from .errors import ConfigurationError
from .http.forks import ProcessLock
from .models import Models, base_of, map_models, own_models
from .stores.cache import Cache, MemoryCache
from .stores.redis_cache import RedisCache, redis_cache_from_url
from .stores.transactions import SessionFactory


def open_database(
    app: Flask, client_id: str, *, db: Any, db_session_maker: Any, client_info_model: Any
) -> tuple[SessionFactory, Models]:
    """The sessions and the models of an app. Nothing is connected to before the first session.

    :param client_id: names our own database, where none is given.
    :param db: a Flask-SQLAlchemy object; the app makes its tables.
    :param db_session_maker: a ``sessionmaker``, or a ``scoped_session`` of one; the app makes its tables.
    :param client_info_model: the app's own class with ``ConnectAppClientInfoMixin``.
    """
    if isinstance(db_session_maker, scoped_session):
        # The session it keeps for a thread is the app's own, and may be in a transaction.
        db_session_maker = db_session_maker.session_factory
    if db is not None and db_session_maker is not None:
        raise ConfigurationError("Give OrbroConnect either 'db' or 'db_session_maker', not both.")
    if client_info_model is not None:
        models = map_models(base_of(client_info_model), client_info_model)
    else:
        models = map_models(db.Model) if db is not None else own_models()
    if db is not None:
        return _flask_sqlalchemy_sessions(app, db), models
    if db_session_maker is not None:
        if client_info_model is None:
            return _with_tables(lambda: db_session_maker, models), models
        return db_session_maker, models
    path = Path(app.instance_path) / sqlite_file(client_id)
    _make_file(path)
    return _with_tables(lambda: _sqlite_sessions(path), models), models


def sqlite_file(client_id: str) -> str:
    """The name of our own database. Apps may share an instance folder, but not who has installed them."""
    return f"orbro-{hashlib.sha256(client_id.encode()).hexdigest()[:8]}.sqlite"


def open_cache(redis: Any, redis_url: str | None, patience: float) -> Cache:
    """The cache of an app: Redis where it is given, else memory.

    :param patience: how long Redis is waited for at most, in seconds.
    """
    if redis is not None:
        return RedisCache(redis, patience)
    if redis_url is None or redis_url == "memory://":
        return MemoryCache()
    try:
        return redis_cache_from_url(redis_url, patience)
    except ImportError:
        raise ConfigurationError(
            "ORBRO_REDIS_URL is set, but redis is not installed. "
            "Install it with: pip install 'flask-orbro[redis]'"
        ) from None
    except ValueError:
        raise ConfigurationError("ORBRO_REDIS_URL must be a URL such as redis://localhost:6379/0.") from None


def _lazy(make: Callable[[], SessionFactory]) -> SessionFactory:
    lock = ProcessLock()
    made: list[SessionFactory] = []

    def sessions() -> Session:
        if not made:
            with lock:
                if not made:
                    made.append(make())
        return made[0]()

    return sessions


def _flask_sqlalchemy_sessions(app: Flask, db: Any) -> SessionFactory:
    def make() -> SessionFactory:
        with app.app_context():
            return sessionmaker(db.engine)

    return _lazy(make)


def _with_tables(make: Callable[[], Any], models: Models) -> SessionFactory:
    """Sessions of a database whose tables we make, since nobody else knows of them."""

    def make_with_tables() -> SessionFactory:
        sessions = make()
        with sessions() as session, session.begin():
            metadata = models.client_info.metadata
            metadata.create_all(session.connection(), tables=models.tables)
        made: SessionFactory = sessions
        return made

    return _lazy(make_with_tables)


def _make_file(path: Path) -> None:
    """For its owner alone: it holds what organizations share with the app.

    :raises ConfigurationError: at start, rather than for each request.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise ConfigurationError(
            f"The database {path} cannot be opened: {error.strerror}. Make the instance folder "
            "writable, or give OrbroConnect a 'db' or a 'db_session_maker'."
        ) from None


def _sqlite_sessions(path: Path) -> SessionFactory:
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 5}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")

    return sessionmaker(engine)
