"""Judging the caller of the current request: by what a view asks of its callers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from flask import request

from .api.audit import audit
from .api.body import read_json
from .api.swagger import CONNECT, OPEN_API, USER, WEBHOOK
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
from .webhooks import Delivery, event_named

Words = str | Iterable[str] | None


@dataclass(frozen=True)
class Terms:
    """What one view asks of its callers: any of some kinds of credential, and words of their identity."""

    kinds: tuple[str, ...]
    optional: bool
    wanted: Mapping[str, frozenset[str]]


def known_kinds(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """:raises ValueError: where one is no kind of credential, or there is none."""
    if not kinds or set(kinds) - {USER, CONNECT, OPEN_API, WEBHOOK}:
        raise ValueError(f"Name some of 'user', 'connect', 'open_api' and 'webhook', not {kinds!r}.")
    return kinds


def terms_of(kinds: tuple[str, ...], *, optional: bool = False, **wanted: Words) -> Terms:
    """Read once, so that every request is judged by the same words.

    :raises TypeError: an option is unknown, lets nobody in, or names no words.
    """
    allowed = set() if WEBHOOK in kinds else {"role", "status"}  # deliveries have neither
    allowed |= {"scope"} if allowed and CONNECT in kinds else set()  # only a connect-app token has scopes
    if set(wanted) - allowed:
        raise TypeError(f"These are no options here: {sorted(set(wanted) - allowed)}.")
    given = {name: _words(name, words) for name, words in wanted.items() if words is not None}
    return Terms(kinds, optional, given)


def _words(name: str, given: str | Iterable[str]) -> frozenset[str]:
    words = frozenset([given] if isinstance(given, str) else given)
    if not words or not all(isinstance(word, str) and word for word in words):
        raise TypeError(f"'{name}' must be a word or several, not {given!r}.")
    return words


def let_in(terms: Terms) -> Caller:
    """Let the caller of this request in.

    :raises ProblemError: 400, 401, 403, 429 or 503.
    """
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
    metrics.request(credential, "accepted" if caller.identity or caller.delivery else "anonymous")
    return set_caller(caller)


def _judge(terms: Terms) -> Caller:
    authorization = request.headers.get("Authorization")
    if terms.optional and authorization is None:
        return Caller()
    origins = tuple(request.args.getlist("origin"))
    presented = Presented(authorization, origins, sub=request.headers.get("sub"))
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
    raise max(refusals, key=_telling)


def _telling(refusal: ProblemError) -> tuple[int, int]:
    """How much a refusal tells, whatever the order of the kinds."""
    # What could not be decided outweighs a refusal: a platform fault is never turned into 401. And who has
    # named no organization, or a wrong one, is told so: without it nobody could judge the token.
    code = 402 if refusal.code == 400 else refusal.code
    return code, _OF_ONE_CODE.get(refusal.reason, 1)


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


#: What tells more, and what less, than other refusals of the same status.
_OF_ONE_CODE = {"token_expired": 2, "token_of_another_kind": 0}

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
