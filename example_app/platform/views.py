"""One route for each credential of the platform, and one call to the platform itself."""

from __future__ import annotations

from typing import Any

from flask_restx import Namespace, Resource
from werkzeug.exceptions import BadGateway

from flask_orbro import (
    answers_problems,
    connect_required,
    current_identity,
    open_api_required,
    schema_model,
    user_required,
)

from ..extensions import orbro
from .schemas import ConnectAppSchema, OpenApiCallerSchema, UserSchema, UsersSchema

platform = Namespace("platform", "Callers that the platform vouches for", path="/platform")

_user = schema_model(platform, "PlatformUser", UserSchema)
_connect_app = schema_model(platform, "ConnectApp", ConnectAppSchema)
_open_api_caller = schema_model(platform, "OpenApiCaller", OpenApiCallerSchema)
_users = schema_model(platform, "PlatformUsers", UsersSchema)


@platform.route("/me")
class Me(Resource):
    @platform.response(200, "The user", _user)
    @user_required
    def get(self) -> Any:
        """The user who calls"""
        return UserSchema().dump(current_identity)


@platform.route("/app")
class App(Resource):
    @platform.response(200, "The caller", _connect_app)
    @connect_required
    def get(self) -> Any:
        """The app that calls"""
        return ConnectAppSchema().dump(current_identity)


@platform.route("/open")
class Open(Resource):
    @platform.response(200, "The caller", _open_api_caller)
    @open_api_required
    def get(self) -> Any:
        """The holder of the Open API token that calls"""
        return OpenApiCallerSchema().dump(current_identity)


@platform.route("/users")
class Users(Resource):
    @platform.response(200, "The users, as the platform answers them", _users)
    @answers_problems(words={502: "The platform refuses this app"})
    @user_required
    def get(self) -> Any:
        """The users of the caller's organization"""
        answer = orbro.client.get("/api/v1/users").raise_for_status()
        try:
            return answer.json()
        except ValueError:
            raise BadGateway("The platform's answer is not JSON.") from None
