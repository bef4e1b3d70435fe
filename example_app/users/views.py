"""Registration."""

from __future__ import annotations

from typing import Any

from flask_restx import Namespace, Resource
from sqlalchemy.exc import IntegrityError

from flask_orbro import answers_problems, load_body, schema_model

from ..errors import Conflict
from ..extensions import db
from ..limits import count_attempt
from .model import User
from .passwords import hash_password
from .schemas import RegistrationSchema, UserSchema

users = Namespace("users", "Accounts of this app", path="/users")

_registration = schema_model(users, "Registration", RegistrationSchema)
_user = schema_model(users, "User", UserSchema)


@users.route("")
class Users(Resource):
    @users.doc(security=[])
    @users.expect(_registration)
    @users.response(201, "The account", _user)
    @answers_problems(400, 413, 415, 429, 503, words={409: "The `user_id` is taken"})
    def post(self) -> Any:
        """Register an account"""
        body = load_body(RegistrationSchema())
        count_attempt()
        password = body.pop("user_password")
        user = User(**body, password_hash=hash_password(password))
        db.session.add(user)
        try:
            db.session.commit()
        except IntegrityError:
            # Not looked up before: somebody else may register it at the same time.
            raise Conflict("This user_id is taken.", reason="user_id_taken") from None
        return UserSchema().dump(user), 201
