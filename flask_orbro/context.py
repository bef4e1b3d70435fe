"""Who this request is from: proxies that the decorators fill, each with its type."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

from flask import Flask, current_app, g, has_app_context, has_request_context, request
from werkzeug.local import LocalProxy

from .connections.forwarding import forwardable
from .errors import NoCallerError, NotAuthenticated
from .identity import Identity, Presented
from .installation import OrganizationInfo
from .webhooks import Delivery

_KEY = "orbro.caller"


def _kept() -> dict[str, Any]:
    """Where the caller is kept: on the request, else in the app context that a handler runs in.

    Not in ``g`` for a request: the requests within one app context share it. Nor in its environment, which
    may be handed on to another request, of another app.
    """
    return request.__dict__ if has_request_context() else g.__dict__


@dataclass(frozen=True)
class Caller:
    """What one request is known to be from, or a handler's delivery; written whole, once it is judged.

    As a context manager it lets the caller in for the block alone: ``with authenticate_user() as caller:``.
    """

    identity: Identity | None = None
    organization: OrganizationInfo | None = None
    delivery: Delivery | None = None
    #: Who was let in before, and is again once the block ends.
    outer: Caller | None = field(default=None, repr=False, compare=False)

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        _kept()[_KEY] = self.outer


def set_caller(caller: Caller) -> Caller:
    """Let a caller in. :returns: it, knowing who was let in before."""
    kept = _kept()
    caller = replace(caller, outer=kept.get(_KEY))
    kept[_KEY] = caller
    return caller


def get_caller() -> Caller:
    """:raises NoCallerError: outside of a request and of a handler, or before the credential is judged."""
    caller = _kept().get(_KEY) if has_app_context() else None
    if not isinstance(caller, Caller):
        raise NoCallerError(
            "No caller is known here. Put @user_required, @connect_required, @open_api_required or "
            "@webhook_required on the view; outside of a request and of a handler use "
            "'orbro.client_for(organization_id)'."
        )
    return caller


def get_identity() -> Identity | None:
    """The identity of the caller; ``None`` for a delivery, or a caller that ``optional=True`` let in."""
    return get_caller().identity


def get_organization() -> OrganizationInfo | None:
    """The organization of the caller or the delivery; ``None`` for an Open API token."""
    return get_caller().organization


def get_delivery() -> Delivery | None:
    """The delivery that ``@webhook_required`` has verified, or that a handler was given."""
    return get_caller().delivery


def callers_organization_id() -> str:
    """:raises NoCallerError: where the caller belongs to no organization."""
    organization = get_organization()
    if organization is None:
        raise NoCallerError(
            "This caller belongs to no organization. Use 'orbro.client_for(organization_id)' or "
            "'orbro.open_api_client'."
        )
    return organization.organization_id


def callers_token(is_own: Callable[[str], bool]) -> str:
    """The bearer token of this request, for another back end to judge.

    :param is_own: whether a token is one that the app has signed, or was configured with.
    :raises NoCallerError: outside of a request.
    :raises NotAuthenticated: where there is none, or it is the platform's or the app's own.
    """
    if not has_request_context():
        raise NoCallerError("There is no request whose token could be forwarded; use 'with_token(token)'.")
    token = forwardable(Presented(request.headers.get("Authorization")).token)
    caller = _kept().get(_KEY)
    # Whatever it looks like: one that let its bearer in here is the platform's.
    if is_own(token) or (caller is not None and (caller.identity or caller.delivery)):
        raise NotAuthenticated("This token is of another kind.", reason="token_of_another_kind")
    return token


def carried(call: Callable[[], Any]) -> Callable[[], Any]:
    """The call, to be run in a copy of this context by another thread, with this request and its caller.

    It has an app context, and so a ``g`` and database sessions, of its own: those are not for sharing.
    """
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]

    def run() -> Any:
        with app.app_context():
            return call()

    return run


current_identity = cast(Identity, LocalProxy(get_identity))
current_organization = cast(OrganizationInfo, LocalProxy(get_organization))
current_delivery = cast(Delivery, LocalProxy(get_delivery))
