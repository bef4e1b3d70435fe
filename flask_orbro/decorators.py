"""Who is let in. Each function takes one credential; the decorator around it is a few lines."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial, wraps
from typing import Any, TypeVar, cast, overload

from flask import current_app

from .api.descriptor import MARK
from .api.once import handle_once
from .api.swagger import CONNECT, OPEN_API, USER, WEBHOOK, document_credentials, mark_decorator
from .context import Caller, set_caller
from .judging import Words, known_kinds, let_in, terms_of
from .webhooks import check_registered, place_of

F = TypeVar("F", bound=Callable[..., Any])


def authenticate_user(*, role: Words = None, status: Words = None, optional: bool = False) -> Caller:
    """Let in the bearer of a platform user token.

    :param role: the role, or several of which one is enough.
    :param status: likewise.
    :param optional: let a request without an ``Authorization`` header, or with a JWT of the app's own,
        pass with no identity.
    :raises ProblemError: 400, 401, 403, 429 or 503.
    """
    return let_in(terms_of((USER,), optional=optional, role=role, status=status))


def authenticate_connect_app(
    *, role: Words = None, scope: Words = None, status: Words = None, optional: bool = False
) -> Caller:
    """Let in the bearer of a connect-app token; see :func:`authenticate_user`.

    :param scope: words that all must be among the token's scopes.
    """
    return let_in(terms_of((CONNECT,), optional=optional, role=role, scope=scope, status=status))


def authenticate_open_api(*, role: Words = None, status: Words = None, optional: bool = False) -> Caller:
    """Let in the bearer of an Open API token; see :func:`authenticate_user`."""
    return let_in(terms_of((OPEN_API,), optional=optional, role=role, status=status))


def authenticate_any_of(*kinds: str, **options: Any) -> Caller:
    """Let in the bearer of any of several credentials; see :func:`any_of`."""
    return let_in(terms_of(known_kinds(kinds), **options))


def authenticate_webhook() -> Caller:
    """Let in a delivery of the platform. Its body is read after its token is verified."""
    return let_in(terms_of((WEBHOOK,)))


@overload
def user_required(view: F, /) -> F: ...
@overload
def user_required(
    *, role: Words = None, status: Words = None, optional: bool = False
) -> Callable[[F], F]: ...
def user_required(view: Any = None, /, **options: Any) -> Any:
    """Only for bearers of a platform user token; options as :func:`authenticate_user`."""
    return _decorate(view, (USER,), options)


@overload
def connect_required(view: F, /) -> F: ...
@overload
def connect_required(
    *, role: Words = None, scope: Words = None, status: Words = None, optional: bool = False
) -> Callable[[F], F]: ...
def connect_required(view: Any = None, /, **options: Any) -> Any:
    """Only for bearers of a connect-app token; options as :func:`authenticate_connect_app`."""
    return _decorate(view, (CONNECT,), options)


@overload
def open_api_required(view: F, /) -> F: ...
@overload
def open_api_required(
    *, role: Words = None, status: Words = None, optional: bool = False
) -> Callable[[F], F]: ...
def open_api_required(view: Any = None, /, **options: Any) -> Any:
    """Only for bearers of an Open API token; options as :func:`authenticate_open_api`."""
    return _decorate(view, (OPEN_API,), options)


@overload
def webhook_required(view: F, /) -> F: ...
@overload
def webhook_required(
    *, event: str | None = None, property: str | None = None, value: Any = None, deduplicate: bool = False
) -> Callable[[F], F]: ...
def webhook_required(
    view: Any = None,
    /,
    *,
    event: str | None = None,
    property: str | None = None,
    value: Any = None,
    deduplicate: bool = False,
) -> Any:
    """Only for deliveries of the platform, which the view handles itself, with ``current_delivery``.

    :param event: put the route into the descriptor, for this event; no pattern.
    :param property: where this property has that ``value`` alone: text, a finite number or a truth value.
    :param deduplicate: keep the delivery in the inbox, and answer an equal one with 202 without running
        the view again.
    :raises ConfigurationError: one of ``event``, ``property`` and ``value`` cannot be, or lacks another.
    """

    def decorator(function: Any) -> Any:
        decorated = _decorate(function, (WEBHOOK,), {}, event=event, once=deduplicate)
        if any(given is not None for given in (event, property, value)):
            place = place_of(function)
            check_registered(place, event, property, value)
            setattr(decorated, MARK, (event, property, value, place))
        return decorated

    return mark_decorator(decorator, (WEBHOOK,)) if view is None else decorator(view)


for _required, _kind in (
    (user_required, USER),
    (connect_required, CONNECT),
    (open_api_required, OPEN_API),
    (webhook_required, WEBHOOK),
):
    mark_decorator(_required, (_kind,))


def any_of(*kinds: str, **options: Any) -> Callable[[F], F]:
    """For bearers of any of several credentials.

    :param kinds: of ``"user"``, ``"connect"``, ``"open_api"`` and ``"webhook"``.
    :param options: as :func:`authenticate_connect_app`.
    """
    return cast("Callable[[F], F]", _decorate(None, known_kinds(kinds), options))


def _decorate(
    view: Any,
    kinds: tuple[str, ...],
    options: dict[str, Any],
    *,
    event: str | None = None,
    once: bool = False,
) -> Any:
    terms = terms_of(kinds, **options)

    def decorator(function: F) -> F:
        if not callable(function) or inspect.isclass(function):
            raise TypeError("Put the decorator on a view or on a method of a Resource.")

        @wraps(function)
        def authenticated(*args: Any, **kwargs: Any) -> Any:
            caller = _registered(let_in(terms), event)
            view = partial(current_app.ensure_sync(function), *args, **kwargs)
            return handle_once(caller, view) if once else view()

        documented = document_credentials(authenticated, kinds, optional=terms.optional)
        return cast(F, documented)

    if view is None:
        return mark_decorator(decorator, kinds, optional=terms.optional)
    return decorator(view)


def _registered(caller: Caller, event: str | None) -> Caller:
    """The caller, whose delivery has the event that its view is registered for where it names none."""
    delivery = caller.delivery
    if event is None or delivery is None or delivery.event is not None:
        return caller
    known = replace(caller, delivery=replace(delivery, event=event))
    set_caller(known)
    return known
