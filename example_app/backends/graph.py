"""Microsoft Graph by an Entra sidecar, as the user whose own Entra token comes with the request."""

from __future__ import annotations

from typing import Any

from flask import request
from flask_restx import Namespace, Resource
from werkzeug.exceptions import BadGateway

from flask_orbro import (
    NotAllowed,
    NotAuthenticated,
    ProblemError,
    answers_problems,
    load_body,
    schema_model,
)
from flask_orbro.connections import DownstreamRefused, SidecarRefused

from ..errors import NotFound
from ..extensions import orbro
from .schemas import MessageSchema, MessagesSchema, ProfileSchema, SentSchema

_ENTRA = {
    "entra": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "The user's own Entra token. Type `Bearer `, then the token.",
    }
}
graph = Namespace("graph", "Microsoft Graph, as the caller", path="/graph", authorizations=_ENTRA)

_message = schema_model(graph, "Mail", MessageSchema)
_messages = schema_model(graph, "Mails", MessagesSchema)
_profile = schema_model(graph, "Profile", ProfileSchema)
_sent = schema_model(graph, "Sent", SentSchema)
_REFUSALS = {
    401: "No Entra token, or one that Entra does not accept",
    403: "The user may not do this",
    404: "The user has no such thing, such as a mailbox",
}


@graph.route("/profile")
class Profile(Resource):
    @graph.doc(security="entra")
    @graph.response(200, "The user, as Graph tells", _profile)
    @answers_problems(429, 502, 503, words=_REFUSALS)
    def get(self) -> Any:
        """The caller's profile"""
        return _graph("me")


@graph.route("/messages")
class Messages(Resource):
    @graph.doc(security="entra")
    @graph.response(200, "The messages, as Graph tells", _messages)
    @answers_problems(429, 502, 503, words=_REFUSALS)
    def get(self) -> Any:
        """The caller's last messages"""
        return _graph("me/messages?$top=10")


@graph.route("/messages/send")
class Send(Resource):
    @graph.expect(_message)
    @graph.doc(security="entra")
    @graph.response(202, "On its way", _sent)
    @answers_problems(400, 413, 415, 429, 502, 503, words=_REFUSALS)
    def post(self) -> Any:
        """Send a message as the caller"""
        if "Authorization" not in request.headers:
            # Told before the body is judged; whether the token is a good one, Entra tells.
            raise NotAuthenticated("There is no Entra token.", reason="token_missing")
        message = load_body(MessageSchema())
        mail = {
            "subject": message["subject"],
            "body": {"contentType": "Text", "content": message["text"]},
            "toRecipients": [{"emailAddress": {"address": message["to"]}}],
        }
        _graph("me/sendMail", "POST", json={"message": mail})
        return {"sent": True}, 202


def _graph(path: str, method: str = "GET", **options: Any) -> Any:
    """Graph's answer. What is refused to the caller is no failure of ours."""
    try:
        return orbro.connections["sidecar"].call("graph", path, method, **options).json()
    except SidecarRefused as error:
        if error.status == 401:
            raise NotAuthenticated("Entra does not accept this token.") from error
        raise
    except DownstreamRefused as error:
        raise _refused(error) from None
    except ValueError:
        raise BadGateway("Graph's answer is not JSON.") from None


def _refused(error: DownstreamRefused) -> ProblemError:
    """What Graph tells of the user, and else a failure."""
    match error.status:
        case 401:
            return NotAuthenticated("Graph does not accept this token.")
        case 403:
            return NotAllowed("Graph does not allow this to the user.")
        case 404:
            return NotFound("Graph knows nothing like this of the user.")
        case _:
            return error
