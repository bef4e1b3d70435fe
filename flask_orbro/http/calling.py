"""Calling one back end, sync and async, from one set of rules."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import anyio
import httpx2

from ..errors import ProblemError
from ..logs import get_logger
from .bulkhead import Bulkhead, Full
from .event_loop import CarriedStream, LoopThread, run_in
from .network import deadline, in_time, seconds_left
from .outgoing import make_request, path_url
from .pool import HttpPool
from .reasons import why
from .retry import RetryPolicy, async_send_again, send_again
from .token_auth import waits_for_token
from .upload import MISFIT, CannotRewind, StreamedBody

logger = get_logger(__name__)

T = TypeVar("T", bound=httpx2.Response)
R = TypeVar("R")
V = TypeVar("V")


def nowhere() -> LoopThread | None:
    """A home for no call."""
    return None


@dataclass(frozen=True, kw_only=True)
class Calling:
    """What all clients of one back end share.

    :param count: told the method, the outcome and the seconds of each call.
    :param home: where an async call that is made now finds its connections, if not in the running loop:
        that may end with the request.
    """

    http: HttpPool
    retries: RetryPolicy
    bulkhead: Bulkhead
    count: Callable[[str, str, float], None]
    home: Callable[[], LoopThread | None] = nowhere


@dataclass(frozen=True)
class Call:
    """A request that may be sent, as often as its policy says."""

    request: httpx2.Request
    auth: httpx2.Auth
    policy: dict[str, Any]

    @property
    def is_asynchronous(self) -> bool:
        """Whether its body can be read in an event loop alone."""
        stream = self.request.stream
        return isinstance(stream, StreamedBody) and stream.is_asynchronous


class Client(Generic[T, R]):
    """The rules of a call. ``T`` is its response, and ``R`` that or an awaitable one.

    :param origin: where the calls go.
    :param tenant: what the number of calls at once is counted by.
    """

    def __init__(self, calling: Calling, origin: str, tenant: str, auth: httpx2.Auth) -> None:
        self._calling = calling
        self._tenant = tenant
        self._auth = auth
        #: Where the calls go: ``https://{host}``.
        self.origin = origin

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.origin}>"

    def request(self, method: str, path: str, **options: Any) -> R:
        raise NotImplementedError

    def get(self, path: str, **options: Any) -> R:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> R:
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> R:
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> R:
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> R:
        return self.request("DELETE", path, **options)

    def head(self, path: str, **options: Any) -> R:
        return self.request("HEAD", path, **options)

    def options(self, path: str, **options: Any) -> R:
        return self.request("OPTIONS", path, **options)

    def _answer(self, response: httpx2.Response) -> T:
        """The response as the caller is given it."""
        raise NotImplementedError

    def _unavailable(self, detail: str) -> ProblemError:
        """The error for a call that has no answer."""
        raise NotImplementedError

    def _url(self, path: str) -> httpx2.URL:
        """:raises ValueError: where a path could name another host."""
        return path_url(self.origin, path)

    def _prepare(self, method: str, path: str, options: dict[str, Any]) -> Call:
        """:raises ValueError: where it cannot be sent as it is."""
        calling, auth = self._calling, options.pop("auth", self._auth)
        options.pop("follow_redirects", None)  # no redirect is followed with a credential
        made = make_request(calling.http.client, method, self._url(path), **options)
        retries = calling.retries
        return Call(made.request, auth, retries.repeating if made.repeatable else retries.reconnecting)

    @contextmanager
    def _watched(self, call: Call) -> Iterator[Callable[[httpx2.Response], T]]:
        """Count a call, bound the number of them, and type what goes wrong."""
        method, tenant = call.request.method, self._tenant
        bulkhead, counted = self._calling.bulkhead, None
        began, outcome = time.monotonic(), "failed"

        def answered(response: httpx2.Response) -> T:
            nonlocal outcome
            outcome = f"{response.status_code // 100}xx"
            return self._answer(response)

        try:
            counted = bulkhead.enter(tenant)
            yield answered
        except Full:
            outcome = "full"
            raise self._unavailable("Too many calls are under way.") from None
        except CannotRewind as error:
            raise self._unavailable(
                "The call has to be sent again, and its body, a stream, cannot be: make the call anew."
            ) from error
        except httpx2.RequestError as error:
            if outcome != "failed" and error._request is not call.request:
                raise  # of another call, which was made while our stream is read
            outcome = "failed"
            if isinstance(error, httpx2.LocalProtocolError):
                raise ValueError(MISFIT) from None
            logger.warning("%s %s: %s.", method, self.origin, type(error).__name__)
            late = waits_for_token(call.request)
            said = "Its token has not come in time." if late else f"There is no answer: {why(error)}."
            raise self._unavailable(said) from error
        finally:
            if counted is not None:
                bulkhead.leave(tenant, counted)
            self._calling.count(method, outcome, time.monotonic() - began)


class SyncClient(Client[T, T]):
    """Calls that are waited for. Paths are relative: ``/api/v1/users``."""

    def request(self, method: str, path: str, **options: Any) -> T:
        """Send one request; what is safe to repeat is sent again where it failed in passing.

        :param path: begins with one slash; anything that could name another host is refused.
        :param options: ``json``, ``data``, ``content``, ``files``, ``params``, ``headers`` and ``timeout``
            as :meth:`httpx2.Client.request` takes them. ``retry=True`` lets a ``POST`` or ``PATCH`` be sent
            again, ``retry=False`` nothing.
        :returns: the response, whatever its status.
        :raises ProblemError: where there is none in time.
        :raises ValueError: where the call cannot be sent as it is.
        """
        call = self._prepare(method, path, options)
        with self._watched(call) as answered, in_time(self._calling.retries.budget):
            return answered(send_again(call.policy, partial(self._exchange, call)))

    @contextmanager
    def stream(self, method: str, path: str, **options: Any) -> Iterator[T]:
        """As :meth:`request`, once, with a body that is read as it comes: ``iter_bytes()``.

        It begins in time; each read is bounded by ``timeout``, and all of them by nothing. One that breaks
        off raises the error of a call where the block is left; other errors of the block stay what they are.
        """
        call = self._prepare(method, path, options)
        with self._watched(call) as answered:
            with in_time(self._calling.retries.budget):
                response = self._exchange(call, stream=True)
            try:
                yield answered(response)
            finally:
                response.close()

    def _prepare(self, method: str, path: str, options: dict[str, Any]) -> Call:
        call = super()._prepare(method, path, options)
        if call.is_asynchronous:
            raise TypeError("An asynchronous stream is for an async client to send.")
        return call

    def _exchange(self, call: Call, *, stream: bool = False) -> httpx2.Response:
        client = self._calling.http.client
        return client.send(call.request, auth=call.auth, stream=stream, follow_redirects=False)


class AsyncClient(Client[T, Awaitable[T]]):
    """As :class:`SyncClient`, to be awaited."""

    async def request(self, method: str, path: str, **options: Any) -> T:
        """As :meth:`SyncClient.request`."""
        call = self._prepare(method, path, options)
        return await _at(self._home(call), self._request(call))

    async def _request(self, call: Call) -> T:
        with self._watched(call) as answered:
            sent = async_send_again(call.policy, partial(self._exchange, call))
            return answered(await self._in_time(sent))

    @asynccontextmanager
    async def stream(self, method: str, path: str, **options: Any) -> AsyncIterator[T]:
        """As :meth:`SyncClient.stream`, with ``aiter_bytes()``."""
        call = self._prepare(method, path, options)
        home = self._home(call)
        with self._watched(call) as answered:
            async with AsyncExitStack() as opened:
                yield answered(await _at(home, self._open(call, opened, home)))

    async def _open(
        self, call: Call, opened: AsyncExitStack, home: asyncio.AbstractEventLoop | None
    ) -> httpx2.Response:
        response = await self._in_time(self._exchange(call, stream=True))
        if home is not None:
            response.stream = CarriedStream(response.stream, home)
        # Here and not by whoever waits for it: that one may be cancelled before he has it.
        opened.push_async_callback(response.aclose)
        return response

    def _home(self, call: Call) -> asyncio.AbstractEventLoop | None:
        """The loop that has the connections of this call, where that is not the running one."""
        home = self._calling.home()
        if home is None:
            return None
        if isinstance(call.request.stream, StreamedBody):
            # Reading it may take its time, and that loop is everybody's.
            call.request.stream = CarriedStream(call.request.stream, asyncio.get_running_loop())
        return home.loop

    async def _in_time(self, sent: Awaitable[httpx2.Response]) -> httpx2.Response:
        with deadline(self._calling.retries.budget), anyio.move_on_after(seconds_left()):
            return await sent
        raise httpx2.ReadTimeout("The call takes too long.")

    async def _exchange(self, call: Call, *, stream: bool = False) -> httpx2.Response:
        client = await self._calling.http.async_client()
        return await client.send(call.request, auth=call.auth, stream=stream, follow_redirects=False)


async def _at(home: asyncio.AbstractEventLoop | None, work: Coroutine[Any, Any, V]) -> V:
    return await (work if home is None else run_in(home, work))
