"""Making app tokens by hand, as the old SDK's ``token_util`` did."""

from __future__ import annotations

import base64
import time
from typing import Any

from ..config import Config
from ..errors import PlatformError, PlatformInvalidResponse, PlatformRateLimited, PlatformRefused
from ..http.server_clock import ServerClock
from ..metrics import Metrics
from ..protocol import MIN_SECRET, OPEN_API_PATH, is_usable_secret, mint_app_token
from ..verdicts import Outcome
from .clients import PlatformClient
from .tokens import MAX_LIFETIME

_OUTCOMES = {PlatformRefused: Outcome.REFUSED, PlatformRateLimited: Outcome.RATE_LIMITED}


class TokenUtil:
    """:param anonymous: a client of the platform's root host that shows no token."""

    def __init__(
        self, config: Config, platform_clock: ServerClock, anonymous: PlatformClient, metrics: Metrics
    ) -> None:
        self._config = config
        self._clock = platform_clock
        self._anonymous = anonymous
        self._metrics = metrics

    def issue_token(self, shared_secret: str, user_id: str | None, expires_in: float | None = None) -> str:
        """Mint an app token.

        :param shared_secret: of the organization; 32 bytes at least.
        :param user_id: who installed the app there.
        :param expires_in: seconds; by default ``ORBRO_TOKEN_LIFETIME``.
        :raises ValueError: where the secret cannot sign, or the time is none.
        """
        if not is_usable_secret(shared_secret):
            raise ValueError(f"A shared secret has {MIN_SECRET} bytes at least.")
        lifetime = self._config.token_lifetime if expires_in is None else expires_in
        if not 0 < lifetime < MAX_LIFETIME:
            raise ValueError(f"A token lives for some seconds, not for {lifetime!r}.")
        return mint_app_token(
            client_id=self._config.client_id,
            shared_secret=shared_secret,
            user_id=user_id,
            now=self._clock(),
            lifetime=lifetime,
        )

    def issue_app_token_by_remote(self, token: str, origin: str) -> dict[str, Any]:
        """Have the platform issue an app token.

        :param token: of a user of the organization.
        :param origin: of the organization.
        :returns: the platform's answer; what it holds is not documented.
        :raises PlatformError: where it refuses, or does not answer with a JSON object.
        """
        began, outcome = time.monotonic(), Outcome.ACCEPTED
        try:
            return self._issue(token, origin)
        except PlatformError as error:
            outcome = _OUTCOMES.get(type(error), Outcome.FAULT)
            raise
        finally:
            self._metrics.remote("app_token", outcome.value, time.monotonic() - began)

    def _issue(self, token: str, origin: str) -> dict[str, Any]:
        pair = f"{self._config.client_id}:{self._config.client_secret}"
        body = {"username": base64.b64encode(pair.encode()).decode(), "password": token, "origin": origin}
        document = self._anonymous.post(OPEN_API_PATH, json=body).raise_for_status().json()
        if not isinstance(document, dict):
            raise PlatformInvalidResponse("The platform's answer is not a JSON object.")
        return document
