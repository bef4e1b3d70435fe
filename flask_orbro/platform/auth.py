"""Showing a token, and where it is refused one newer token, once: one flow for sync and async."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator

import httpx2

from ..verdicts import TOKEN_EXPIRED, error_code

_Flow = Generator[httpx2.Request, httpx2.Response, None]


class TokenAuth(httpx2.Auth):
    """:param token: the token to show.
    :param renewed: given the refused token and the refusal, a newer one, or ``None`` to
        let the refusal stand.
    """

    def __init__(
        self, token: Callable[[], str], renewed: Callable[[str, httpx2.Response], str | None]
    ) -> None:
        self._token = token
        self._renewed = renewed

    def auth_flow(self, request: httpx2.Request) -> _Flow:
        shown = self._token()
        request.headers["Authorization"] = f"Bearer {shown}"
        response = yield request
        if response.status_code < 400 or response.status_code in (404, 429):
            return
        if response.status_code != 401 and error_code(response.content) != TOKEN_EXPIRED:
            return
        newer = self._renewed(shown, response)
        if newer is not None:
            request.headers["Authorization"] = f"Bearer {newer}"
            yield request

    def sync_auth_flow(self, request: httpx2.Request) -> _Flow:
        flow = self.auth_flow(request)
        following = next(flow, None)
        while following is not None:
            response = yield following
            if response.status_code >= 400:
                response.read()
            following = _following(flow, response)

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        flow = self.auth_flow(request)
        following = next(flow, None)
        while following is not None:
            response = yield following
            if response.status_code < 400:
                return
            await response.aread()
            # Renewing may ask the database and the platform: not on the event loop.
            following = await asyncio.to_thread(_following, flow, response)


def _following(flow: _Flow, response: httpx2.Response) -> httpx2.Request | None:
    try:
        return flow.send(response)
    except StopIteration:
        return None
