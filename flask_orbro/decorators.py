"""Who is let in. Each function judges one credential; the decorator around it is a few lines."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, TypeVar, cast, overload

from flask import current_app, request

from .api.audit import audit
from .api.body import read_json
from .api.descriptor import MARK
from .api.once import handle_once
from .api.swagger import CONNECT, OPEN_API, USER, WEBHOOK, document_credentials, mark_decorator
from .context import Caller, set_caller
from .errors import (
    InvalidRequest,
    NotAllowed,
    NotAuthenticated,
    ProblemError,
    ServiceUnavailable,
    TooManyRequests,
    refusals_of,
)
from .http.network import deadline
from .identity import Presented
from .state import get_state
from .webhooks import Delivery, event_named, place_of

F = TypeVar("F", bound=Callable[..., Any])
Words = str | Iterable[str] | None


@dataclass(frozen=True)
class _Terms:
    """What one view asks of its callers: any of some kinds of credential, and words of their identity."""

    kinds: tuple[str, ...]
    optional: bool
    wanted: Mapping[str, frozenset[str]]


def authenticate_user(*, role: Words = None, status: Words = None, optional: bool = False) -> Caller:
    """Let in the bearer of a platform user token.

    :param role: the role, or several of which one is enough.
    :param status: likewise.
    :param optional: let a request without an ``Authorization`` header, or with a JWT of the app's own,
        pass with no identity.
    :raises ProblemError: 400, 401, 403, 429 or 503.
    """
    return _authenticate(_terms((USER,), optional=optional, role=role, status=status))


def authenticate_connect_app(
    *, role: Words = None, scope: Words = None, status: Words = None, optional: bool = False
) -> Caller:
    """Let in the bearer of a connect-app token; see :func:`authenticate_user`.

    :param scope: words that all must be among the token's scopes.
    """
    return _authenticate(_terms((CONNECT,), optional=optional, role=role, scope=scope, status=status))


def authenticate_open_api(*, role: Words = None, status: Words = None, optional: bool = False) -> Caller:
    """Let in the bearer of an Open API token; see :func:`authenticate_user`."""
    return _authenticate(_terms((OPEN_API,), optional=optional, role=role, status=status))


def authenticate_any_of(*kinds: str, **options: Any) -> Caller:
    """Let in the bearer of any of several credentials; see :func:`any_of`."""
    return _authenticate(_terms(_known_kinds(kinds), **options))


def authenticate_webhook() -> Caller:
    """Let in a delivery of the platform. Its body is read after its token is verified."""
    return _authenticate(_terms((WEBHOOK,)))


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

    :param event: put the route into the descriptor, for this event.
    :param property: where this property has that ``value`` alone.
    :param deduplicate: keep the delivery in the inbox, and answer an equal one with 202 without running
        the view again.
    """

    def decorator(function: Any) -> Any:
        decorated = _decorate(function, (WEBHOOK,), {}, once=deduplicate)
        if event is not None:
            setattr(decorated, MARK, (event, property, value, place_of(function)))
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
    return cast("Callable[[F], F]", _decorate(None, _known_kinds(kinds), options))


def _known_kinds(kinds: tuple[str, ...]) -> tuple[str, ...]:
    if not kinds or set(kinds) - {USER, CONNECT, OPEN_API, WEBHOOK}:
        raise ValueError(f"Name some of 'user', 'connect', 'open_api' and 'webhook', not {kinds!r}.")
    return kinds


def _terms(kinds: tuple[str, ...], *, optional: bool = False, **wanted: Words) -> _Terms:
    """Read once, so that every request is judged by the same words.

    :raises TypeError: an option is unknown, lets nobody in, or names no words.
    """
    allowed = set() if WEBHOOK in kinds else {"role", "status"}  # deliveries have neither
    allowed |= {"scope"} if allowed and CONNECT in kinds else set()  # only a connect-app token has scopes
    if set(wanted) - allowed:
        raise TypeError(f"These are no options here: {sorted(set(wanted) - allowed)}.")
    given = {name: _words(name, words) for name, words in wanted.items() if words is not None}
    return _Terms(kinds, optional, given)


def _words(name: str, given: str | Iterable[str]) -> frozenset[str]:
    words = frozenset([given] if isinstance(given, str) else given)
    if not words or not all(isinstance(word, str) and word for word in words):
        raise TypeError(f"'{name}' must be a word or several, not {given!r}.")
    return words


def _decorate(view: Any, kinds: tuple[str, ...], options: dict[str, Any], *, once: bool = False) -> Any:
    terms = _terms(kinds, **options)

    def decorator(function: F) -> F:
        if not callable(function) or inspect.isclass(function):
            raise TypeError("Put the decorator on a view or on a method of a Resource.")

        @wraps(function)
        def authenticated(*args: Any, **kwargs: Any) -> Any:
            caller = _authenticate(terms)
            view = partial(current_app.ensure_sync(function), *args, **kwargs)
            return handle_once(caller, view) if once else view()

        documented = document_credentials(authenticated, kinds, optional=terms.optional)
        return cast(F, documented)

    if view is None:
        return mark_decorator(decorator, kinds, optional=options.get("optional", False))
    return decorator(view)


def _authenticate(terms: _Terms) -> Caller:
    credential = "|".join(terms.kinds)
    metrics = get_state().metrics
    try:
        caller = _judge(terms)
    except ProblemError as refusal:
        metrics.request(credential, refusal.reason)
        audit(refusal, credential)
        raise
    if caller.organization is not None:
        get_state().presence.note(caller.organization.organization_id)
    metrics.request(credential, "accepted")
    return set_caller(caller)


def _judge(terms: _Terms) -> Caller:
    authorization = request.headers.get("Authorization")
    if terms.optional and authorization is None:
        return Caller()
    presented = Presented(authorization, origin=request.args.get("origin"), sub=request.headers.get("sub"))
    try:
        caller = _first_accepted(terms.kinds, presented)
    except ProblemError:
        if terms.optional and get_state().authenticator.is_own(presented):
            return Caller()  # the app's own log-in, which is not ours to judge
        raise
    with refusals_of(caller.organization.organization_id if caller.organization else None):
        for name, words in terms.wanted.items():
            _check(caller, name, words)
    return caller


def _first_accepted(kinds: tuple[str, ...], presented: Presented) -> Caller:
    """The caller by the first kind that accepts; else the refusal that tells most."""
    refusals: list[ProblemError] = []
    with deadline(get_state().config.verdict_timeout):
        for kind in kinds:
            try:
                return _JUDGES[kind](presented)
            except (
                InvalidRequest,
                NotAllowed,
                NotAuthenticated,
                ServiceUnavailable,
                TooManyRequests,
            ) as refusal:
                refusals.append(refusal)
    # What could not be decided outweighs a refusal: a platform fault is never turned into 401.
    raise max(refusals, key=lambda refusal: refusal.code if refusal.code != 400 else 402)


def _user(presented: Presented) -> Caller:
    identity, organization = get_state().authenticator.user(presented)
    return Caller(identity=identity, organization=organization.info)


def _connect_app(presented: Presented) -> Caller:
    identity, organization = get_state().authenticator.connect_app(presented)
    return Caller(identity=identity, organization=organization.info)


def _open_api(presented: Presented) -> Caller:
    return Caller(identity=get_state().authenticator.open_api(presented))


def _webhook(presented: Presented) -> Caller:
    state = get_state()
    organization, user_id = state.webhooks.verify(presented)
    with refusals_of(organization.organization_id):
        payload = read_json(state.config.max_body)
    event = event_named(payload, state.config.webhook_event_key)
    delivery = Delivery(organization.organization_id, user_id, payload, event)
    return Caller(organization=organization.info, delivery=delivery)


_JUDGES: dict[str, Callable[[Presented], Caller]] = {
    USER: _user,
    CONNECT: _connect_app,
    OPEN_API: _open_api,
    WEBHOOK: _webhook,
}


def _check(caller: Caller, name: str, wanted: frozenset[str]) -> None:
    """:raises NotAllowed: where the identity's ``role``, ``scope`` or ``status`` is not enough."""
    value = getattr(caller.identity, name, None)
    if name == "scope":
        enough = isinstance(value, str) and wanted <= set(value.replace(",", " ").split())
    else:
        enough = value in wanted
    if not enough:
        raise NotAllowed(f"Your {name} is not enough for this.", reason=f"{name}_not_enough")
