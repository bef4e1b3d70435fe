"""Tokens of OAuth client credentials: kept, renewed before they expire, asked for once at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus, urlencode

import httpx2

from ..errors import ConnectionFailed, ConnectionMisconfigured, ConnectionRateLimited, ConnectionUnavailable
from ..http.flight import SingleFlight
from ..http.pool import Answer, HttpPool, Unreachable
from ..http.reasons import why
from ..logs import get_logger
from ..stores.cache import OthersTooSlow, SealedCache
from ..verdicts import retry_after
from .auth import ClientCredentials, basic

logger = get_logger(__name__)

#: No token is kept for longer, whatever the answer tells, in seconds.
LONGEST_LIFE = 86_400.0
#: How long a refusal of the client is remembered, so that not every call asks again, in seconds.
REFUSAL_MEMORY = 10.0
#: How long it is remembered that nobody answered, in seconds.
OUTAGE_MEMORY = 1.0

_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")
_ERROR = re.compile(r"[a-z_]{1,40}")


@dataclass(frozen=True)
class Token:
    """Times are seconds since the epoch."""

    value: str = field(repr=False)
    renew_at: float
    until: float


@dataclass(frozen=True)
class _Refusal:
    """What went wrong the last time, for those who come soon after."""

    until: float
    error: Callable[[], ConnectionFailed]


class ClientCredentialsTokens:
    """The tokens of one connection.

    :param name: of the connection, for messages.
    :param kept_as: the name that its token is kept under.
    :param timeout: seconds for the answer of the token URL.
    :param clock: seconds since the epoch.
    """

    def __init__(
        self,
        name: str,
        credentials: ClientCredentials,
        *,
        http: HttpPool,
        cache: SealedCache,
        kept_as: str,
        timeout: float,
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._credentials = credentials
        self._http = http
        self._cache = cache
        self._kept_as = kept_as
        self._timeout = timeout
        self._clock = clock
        self._flights: SingleFlight[str] = SingleFlight()
        #: Looked at first: to open the sealed one for every call would cost more than all else here.
        self._at_hand: Token | None = None
        self._refusal: _Refusal | None = None
        self._pointless_until = 0.0

    def get(self) -> str | Future[str]:
        """A token that is good for a while yet, or the future of one where there is none.

        The future fails with a :class:`ConnectionFailed` where none is given. It is for all who wait, and
        goes on where they no longer do.
        """
        token, now = self._at_hand, self._clock()
        if token is not None and now < token.renew_at:
            return token.value
        if token is None or now >= token.until:
            return self._renewal()
        # Nobody waits for a better one than is at hand.
        if self._refusal is None or now >= self._refusal.until:
            self._renewal()
        return token.value

    def after_refusal(self, refused: str, response: httpx2.Response) -> Future[str] | None:
        """A token other than the one that the back end has refused, or ``None`` to let that stand."""
        if response.status_code != 401 or self._clock() < self._pointless_until:
            return None
        return self._renewal(refused)

    def refused_again(self) -> None:
        """New tokens do not help: for a while none are asked for only because one is refused."""
        self._pointless_until = self._clock() + REFUSAL_MEMORY

    def _renewal(self, refused: str | None = None) -> Future[str]:
        return self._flights.begin("", lambda: self._renewed(refused))

    def _renewed(self, refused: str | None) -> str:
        """A token other than the refused one: another thread or process may have asked for it already."""
        at_hand = self._at_hand
        has_one = at_hand is not None and at_hand.value != refused and self._clock() < at_hand.until

        def known() -> Token | None:
            for token in (self._at_hand, self._kept()):
                if token is None or token.value == refused:
                    continue
                # Who has one wants a better one, and who has none takes what there is.
                if self._clock() < (token.renew_at if has_one else token.until):
                    return token
            return None

        token = known()
        try:
            if token is None:
                # Half of the time is for others, and half to ask after all.
                with self._cache.turn(self._kept_as, known, patience=self._timeout / 2) as found:
                    token = found or self.ask()
        except OthersTooSlow:
            token = self.ask()
        self._at_hand = token
        return token.value

    def _kept(self) -> Token | None:
        kept = self._cache.get(self._kept_as)
        return None if kept is None else Token(**kept)

    def ask(self) -> Token:
        """A new token, unless it is known that none is given now."""
        now = self._clock()
        if self._refusal is not None and now < self._refusal.until:
            raise self._refusal.error()
        token = self._judge(self._answer(), now)
        kept = {"value": token.value, "renew_at": token.renew_at, "until": token.until}
        self._cache.set(self._kept_as, kept, token.until - now)
        self._refusal = None
        return token

    def _answer(self) -> Answer:
        client = self._credentials
        fields = {
            "grant_type": "client_credentials",
            "scope": " ".join(client.scopes),
            "audience": client.audience,
            "resource": client.resource,
        }
        headers = {}
        if client.client_auth == "post":
            fields |= {"client_id": client.client_id, "client_secret": client.client_secret}
        else:
            # Each is form-encoded first (RFC 6749, section 2.3.1).
            headers["Authorization"] = basic(quote_plus(client.client_id), quote_plus(client.client_secret))
        form = urlencode({key: value for key, value in fields.items() if value}).encode()
        try:
            return self._http.ask(client.token_url, headers, form=form, timeout=self._timeout)
        except Unreachable as error:
            reason = error.reason if error.__context__ is None else why(error.__context__)
            raise self._unavailable(f"its token URL does not answer: {reason}") from None

    def _judge(self, answer: Answer, asked_at: float) -> Token:
        """The token that was given, or a typed error; nothing else of the answer is shown anywhere."""
        document = _json_object(answer.body)
        if answer.status == 200:
            value = document.get("access_token")
            if not isinstance(value, str) or not _TOKEN.fullmatch(value):
                raise self._unavailable("its token URL gave no token")
            if str(document.get("token_type", "Bearer")).lower() != "bearer":
                raise self._misconfigured("its tokens are not bearer tokens")
            life = _life(document.get("expires_in"), self._credentials.token_life)
            return Token(value, asked_at + max(life - self._credentials.leeway, life / 2), asked_at + life)
        if answer.status == 429:
            raise self._rate_limited(retry_after(answer.headers) or 1)
        if 400 <= answer.status < 500:
            error = document.get("error")
            code = error if isinstance(error, str) and _ERROR.fullmatch(error) else "no error code"
            raise self._misconfigured(f"its token URL answered {answer.status} ({code})")
        raise self._unavailable(f"its token URL answered {answer.status}")

    def _unavailable(self, reason: str) -> ConnectionFailed:
        return self._remembered(
            OUTAGE_MEMORY,
            lambda: ConnectionUnavailable(self._sentence(reason), connection=self._name),
        )

    def _rate_limited(self, seconds: float) -> ConnectionFailed:
        return self._remembered(
            seconds,
            lambda: ConnectionRateLimited(
                self._sentence("its token URL limits requests"), connection=self._name, retry_after=seconds
            ),
        )

    def _misconfigured(self, reason: str) -> ConnectionFailed:
        return self._remembered(
            REFUSAL_MEMORY,
            lambda: ConnectionMisconfigured(self._sentence(reason), connection=self._name),
        )

    def _remembered(self, seconds: float, error: Callable[[], ConnectionFailed]) -> ConnectionFailed:
        self._refusal = _Refusal(self._clock() + seconds, error)
        made = error()
        logger.warning("%s", made.detail)
        return made

    def _sentence(self, reason: str) -> str:
        return f"The connection '{self._name}' gets no token: {reason}."


def _life(told: Any, otherwise: float) -> float:
    """``expires_in`` in seconds, where it is one; some servers write it as text, or leave it out."""
    try:
        life = float(told) if isinstance(told, int | float | str) and not isinstance(told, bool) else 0.0
    except (ValueError, OverflowError):
        life = 0.0
    return min(life, LONGEST_LIFE) if life > 0 else otherwise


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
