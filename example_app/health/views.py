"""For load balancers and process managers."""

from __future__ import annotations

from typing import Any

from flask import current_app
from flask_restx import Namespace, Resource
from werkzeug.exceptions import ServiceUnavailable

from flask_orbro import ConfigurationError, answers_problems, schema_model

from ..database import check_database
from .schemas import HealthSchema

health = Namespace("health", "For load balancers", path="/healthz")

_health = schema_model(health, "Health", HealthSchema)


@health.route("")
class Health(Resource):
    @health.doc(security=[])
    @health.response(200, "The app works", _health)
    @answers_problems(words={503: "The database is out of reach, or lacks migrations"})
    def get(self) -> Any:
        """Whether the app and its database work; the platform is not asked"""
        try:
            check_database()
        except ConfigurationError as error:
            current_app.logger.error("%s", error)
            raise ServiceUnavailable("The database is out of reach, or lacks migrations.") from None
        return HealthSchema().dump({"status": "ok"})
