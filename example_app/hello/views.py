"""Good places to start a new route from."""

from __future__ import annotations

from typing import Any

from flask_jwt_extended import current_user, jwt_required
from flask_restx import Namespace, Resource

from flask_orbro import answers_problems, schema_model

from .schemas import MessageSchema

hello = Namespace("tests", "Try whether you are logged in", path="/tests")

_message = schema_model(hello, "Message", MessageSchema)


@hello.route("/hello")
class Hello(Resource):
    @hello.doc(security=[])
    @hello.response(200, "A greeting", _message)
    def get(self) -> Any:
        """Greet anybody"""
        return MessageSchema().dump({"message": "Hello!"})


@hello.route("/secret")
class Secret(Resource):
    @hello.doc(security="bearer")
    @hello.response(200, "A greeting", _message)
    @answers_problems(401, 503)
    @jwt_required()
    def get(self) -> Any:
        """Greet who has logged in"""
        return MessageSchema().dump({"message": f"Hello, {current_user.user_id}!"})
