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
    :param at_hand: whether ``token`` answers without waiting for anybody.
    :param refused_again: told that the newer token was refused as well.
    """

    def __init__(
        self,
        token: Callable[[], str],
        renewed: Callable[[str, httpx2.Response], str | None],
        *,
        at_hand: Callable[[], bool] = lambda: True,
        refused_again: Callable[[], None] = lambda: None,
    ) -> None:
        self._token = token
        self._renewed = renewed
        self._at_hand = at_hand
        self._refused_again = refused_again

    def auth_flow(self, request: httpx2.Request) -> _Flow:
        shown = self._token()
        request.headers["Authorization"] = f"Bearer {shown}"
        response = yield request
        if not _is_refusal(response):
            return
        newer = self._renewed(shown, response)
        if newer is None:
            return
        request.headers["Authorization"] = f"Bearer {newer}"
        response = yield request
        if _is_refusal(response):
            self._refused_again()

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
        # What may ask a database or a server is not for the event loop.
        following = next(flow, None) if self._at_hand() else await asyncio.to_thread(next, flow, None)
        while following is not None:
            response = yield following
            if response.status_code < 400:
                return
            await response.aread()
            following = await asyncio.to_thread(_following, flow, response)


def _is_refusal(response: httpx2.Response) -> bool:
    if response.status_code < 400 or response.status_code in (404, 429):
        return False
    return response.status_code == 401 or error_code(response.content) == TOKEN_EXPIRED


def _following(flow: _Flow, response: httpx2.Response) -> httpx2.Request | None:
    try:
        return flow.send(response)
    except StopIteration:
        return None
