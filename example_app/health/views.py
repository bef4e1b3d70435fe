"""For load balancers and process managers."""

from __future__ import annotations

from typing import Any

from flask_restx import Namespace, Resource
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import ServiceUnavailable

from flask_orbro import answers_problems, schema_model

from ..extensions import db
from .schemas import HealthSchema

health = Namespace("health", "For load balancers", path="/healthz")

_health = schema_model(health, "Health", HealthSchema)


@health.route("")
class Health(Resource):
    @health.doc(security=[])
    @health.response(200, "The app works", _health)
    @answers_problems(words={503: "The database is out of reach"})
    def get(self) -> Any:
        """Whether the app and its database work; the platform is not asked"""
        try:
            db.session.execute(text("select 1"))
        except SQLAlchemyError:
            raise ServiceUnavailable("The database is out of reach.") from None
        return HealthSchema().dump({"status": "ok"})
