"""Showing a token, and where it is refused one newer token, once: one flow for sync and async."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias, TypeVar

import httpx2

from ..verdicts import TOKEN_EXPIRED, error_code
from .network import seconds_left

T = TypeVar("T")
#: What is there already, or is waited for.
Soon: TypeAlias = T | Future[T]
#: A token is asked for, or a request is sent; what comes of it is sent in.
_Step = Callable[[], Soon[str] | None] | httpx2.Request
_Flow = Generator[_Step, Any, None]

#: The extension of a request that has no token yet.
_WAITS = "orbro_waits_for_token"


class TokenAuth(httpx2.Auth):
    """:param token: the token to show, or a future of it.
    :param renewed: given the refused token and the refusal, a newer one, or a future of it; ``None`` lets
        the refusal stand.
    :param at_hand: whether ``token`` returns without asking anybody.
    :param refused_again: told that the newer token was refused as well.
    """

    def __init__(
        self,
        token: Callable[[], Soon[str]],
        renewed: Callable[[str, httpx2.Response], Soon[str] | None],
        *,
        at_hand: Callable[[], bool] = lambda: True,
        refused_again: Callable[[], None] = lambda: None,
    ) -> None:
        self._token = token
        self._renewed = renewed
        self._at_hand = at_hand
        self._refused_again = refused_again

    def _flow(self, request: httpx2.Request) -> _Flow:
        shown = yield self._token
        request.headers["Authorization"] = f"Bearer {shown}"
        response = yield request
        if not _is_refusal(response):
            return
        newer = yield partial(self._renewed, shown, response)
        if newer is None or newer == shown:
            return
        request.headers["Authorization"] = f"Bearer {newer}"
        response = yield request
        if _is_refusal(response):
            self._refused_again()

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        flow = self._flow(request)
        step = next(flow, None)
        while step is not None:
            if isinstance(step, httpx2.Request):
                answer: Any = yield step
                if answer.status_code >= 400:
                    answer.read()
            else:
                with _waiting(request):
                    answer = step()
                    if isinstance(answer, Future):
                        answer = _waited_for(answer, request)
                    if seconds_left() <= 0:
                        raise _late(request)
            step = _following(flow, answer)

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        flow = self._flow(request)
        step = next(flow, None)
        while step is not None:
            if isinstance(step, httpx2.Request):
                answer: Any = yield step
                if answer.status_code >= 400:
                    await answer.aread()
            else:
                # What may ask a database or a server is not for the event loop.
                here = step is self._token and self._at_hand()
                with _waiting(request):
                    answer = step() if here else await asyncio.to_thread(step)
                    if isinstance(answer, Future):
                        answer = await asyncio.wrap_future(answer)
                    if seconds_left() <= 0:
                        raise _late(request)
            step = _following(flow, answer)


def waits_for_token(request: httpx2.Request) -> bool:
    """Whether a request that was not sent in time had no token yet."""
    return _WAITS in request.extensions


@contextmanager
def _waiting(request: httpx2.Request) -> Iterator[None]:
    """Mark a request for as long as it waits, and for good where that was too long."""
    request.extensions[_WAITS] = True
    yield
    del request.extensions[_WAITS]


def _waited_for(token: Future[T], request: httpx2.Request) -> T:
    left = seconds_left()
    done, _ = wait([token], None if left == math.inf else left)
    if not done:
        raise _late(request)
    return token.result()


def _late(request: httpx2.Request) -> httpx2.ReadTimeout:
    return httpx2.ReadTimeout("The token takes too long.", request=request)


def _is_refusal(response: httpx2.Response) -> bool:
    if response.status_code < 400 or response.status_code in (404, 429):
        return False
    return response.status_code == 401 or error_code(response.content) == TOKEN_EXPIRED


def _following(flow: _Flow, answer: Any) -> _Step | None:
    try:
        return flow.send(answer)
    except StopIteration:
        return None
