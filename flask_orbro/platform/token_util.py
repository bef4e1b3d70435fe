"""Making app tokens by hand, as the old SDK's ``token_util`` did."""

from __future__ import annotations

import base64
from typing import Any

from ..config import Config
from ..errors import PlatformUnavailable
from ..protocol import OPEN_API_PATH, mint_app_token
from ..server_clock import ServerClock
from .client import PlatformClient


class TokenUtil:
    """:param anonymous: a client of the platform's root host that shows no token."""

    def __init__(self, config: Config, platform_clock: ServerClock, anonymous: PlatformClient) -> None:
        self._config = config
        self._clock = platform_clock
        self._anonymous = anonymous

    def issue_token(self, shared_secret: str, user_id: str | None, expires_in: float | None = None) -> str:
        """Mint an app token.

        :param shared_secret: of the organization; 32 bytes at least.
        :param user_id: who installed the app there.
        :param expires_in: seconds; by default ``ORBRO_TOKEN_LIFETIME``.
        """
        return mint_app_token(
            client_id=self._config.client_id,
            shared_secret=shared_secret,
            user_id=user_id,
            now=self._clock(),
            lifetime=self._config.token_lifetime if expires_in is None else expires_in,
        )

    def issue_app_token_by_remote(self, token: str, origin: str) -> dict[str, Any]:
        """Have the platform issue an app token.

        :param token: of a user of the organization.
        :param origin: of the organization.
        :returns: the platform's answer; what it holds is not documented.
        :raises PlatformError: where it refuses, or does not answer.
        """
        pair = f"{self._config.client_id}:{self._config.client_secret}"
        body = {"username": base64.b64encode(pair.encode()).decode(), "password": token, "origin": origin}
        response = self._anonymous.post(OPEN_API_PATH, json=body).raise_for_status()
        try:
            document = response.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise PlatformUnavailable("The platform's answer is not a JSON object.", retry_after=1)
        return document
