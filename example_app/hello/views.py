"""Good places to start a new route from."""

from __future__ import annotations

from typing import Any

from flask_jwt_extended import current_user, jwt_required
from flask_restx import Namespace, Resource

from flask_orbro import answers_problems, schema_model

from .schemas import GreetingSchema

hello = Namespace("tests", "Try whether you are logged in", path="/tests")

_greeting = schema_model(hello, "Greeting", GreetingSchema)


@hello.route("/hello")
class Hello(Resource):
    @hello.doc(security=[])
    @hello.response(200, "A greeting", _greeting)
    def get(self) -> Any:
        """Greet anybody"""
        return GreetingSchema().dump({"message": "Hello!"})


@hello.route("/secret")
class Secret(Resource):
    @hello.doc(security="bearer")
    @hello.response(200, "A greeting", _greeting)
    @answers_problems(401, 503)
    @jwt_required()
    def get(self) -> Any:
        """Greet who has logged in"""
        return GreetingSchema().dump({"message": f"Hello, {current_user.user_id}!"})
