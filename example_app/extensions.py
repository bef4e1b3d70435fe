"""The extensions, unbound; :func:`example_app.create_app` binds them to an app."""

from __future__ import annotations

from pathlib import Path

from flask_caching import Cache
from flask_jwt_extended import JWTManager
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

from flask_orbro import OrbroConnect

db = SQLAlchemy()
migrate = Migrate(db=db, directory=Path(__file__).parent / "migrations")
orbro = OrbroConnect(db=db)
jwt = JWTManager()
cache = Cache()
