"""Who this request is from: proxies that the decorators fill, each with its type."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import cast

from flask import has_request_context, request
from werkzeug.local import LocalProxy

from .errors import OrbroError
from .identity import Identity
from .installation import OrganizationInfo
from .webhooks import Delivery

#: In the request's own environment: ``g`` is shared by the requests within one app context.
_KEY = "orbro.caller"


class NoCallerError(OrbroError, RuntimeError):
    """Something of the caller was read where no decorator has let one in."""


@dataclass(frozen=True)
class Caller:
    """What one request is known to be from; written whole, once the credential is judged.

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
        request.environ[_KEY] = self.outer


def set_caller(caller: Caller) -> Caller:
    """Let a caller in. :returns: it, knowing who was let in before."""
    caller = replace(caller, outer=request.environ.get(_KEY))
    request.environ[_KEY] = caller
    return caller


def get_caller() -> Caller:
    """:raises NoCallerError: outside of a request, or before the credential is judged."""
    caller = request.environ.get(_KEY) if has_request_context() else None
    if not isinstance(caller, Caller):
        raise NoCallerError(
            "No caller is known here. Put @user_required, @connect_required, @open_api_required or "
            "@webhook_required on the view; outside of a request use "
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
    """The delivery that ``@webhook_required`` has verified."""
    return get_caller().delivery


current_identity = cast(Identity, LocalProxy(get_identity))
current_organization = cast(OrganizationInfo, LocalProxy(get_organization))
current_delivery = cast(Delivery, LocalProxy(get_delivery))
