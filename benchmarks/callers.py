"""Callers of a back end, each in the way of one library: ``python -m benchmarks.callers CALLER URL …``.

Runs in whatever virtual environment the library is in, so it needs the standard library alone until
a caller is chosen. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from statistics import quantiles
from typing import Any

#: Calls once; whether it was answered 200.
Call = Callable[[], bool]
AsyncCall = Callable[[], Awaitable[bool]]
CLIENT, SECRET = "benchmark", "only-for-benchmarks"


def bare(url: str, callers: int) -> Call:
    """The HTTP library's pooled client, with a token that is there already."""
    import httpx2

    token = httpx2.post(f"{url}/token").json()["access_token"]
    client = httpx2.Client(headers={"Authorization": f"Bearer {token}"}, limits=_limits(callers))
    return lambda: client.get(f"{url}/notes").status_code == 200


def connection(url: str, callers: int) -> Call:
    """A connection of ours, which gets its own token."""
    from flask_orbro.connections import Connection

    notes = Connection("notes", _definition(url, callers), config={"SECRET": SECRET})
    return lambda: notes.get("/notes").status_code == 200


def authlib(url: str, callers: int) -> Call:
    """Authlib's OAuth 2.0 client on the same HTTP library; its first token is fetched by hand."""
    from authlib.integrations.httpx_client import OAuth2Client

    client = OAuth2Client(
        CLIENT,
        SECRET,
        token_endpoint=f"{url}/token",
        grant_type="client_credentials",
        limits=_limits(callers),
    )
    client.fetch_token()
    return lambda: bool(client.get(f"{url}/notes").status_code == 200)


def async_bare(url: str, callers: int) -> AsyncCall:
    """As :func:`bare`, in an event loop."""
    import httpx2

    token = httpx2.post(f"{url}/token").json()["access_token"]
    client = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, limits=_limits(callers))

    async def call() -> bool:
        return (await client.get(f"{url}/notes")).status_code == 200

    return call


def async_connection(url: str, callers: int) -> AsyncCall:
    """As :func:`connection`, in an event loop."""
    from flask_orbro.connections import AsyncConnection

    notes = AsyncConnection("notes", _definition(url, callers), config={"SECRET": SECRET})

    async def call() -> bool:
        return (await notes.get("/notes")).status_code == 200

    return call


CALLERS: dict[str, Callable[[str, int], Call]] = {"bare": bare, "connection": connection, "authlib": authlib}
ASYNC_CALLERS: dict[str, Callable[[str, int], AsyncCall]] = {
    "async_bare": async_bare,
    "async_connection": async_connection,
}


class Watch:
    """Times the calls of one run, once it is warm. Times are in seconds."""

    def __init__(self, warm_up: float, seconds: float) -> None:
        self._seconds = seconds
        self._from = time.perf_counter() + warm_up
        self._until = self._from + seconds
        self._times: list[float] = []
        self._failed = 0
        self._cpu = 0.0

    def goes_on(self) -> bool:
        now = time.perf_counter()
        if now < self._from:
            self._cpu = time.process_time()
        return now < self._until

    def note(self, began: float, ok: bool) -> None:
        now = time.perf_counter()
        if began >= self._from and now <= self._until:
            self._failed += not ok
            if ok:
                self._times.append(now - began)

    def result(self) -> dict[str, Any]:
        """What :class:`benchmarks.load.Sample` holds."""
        cuts = quantiles(self._times, n=100) if len(self._times) > 1 else [0.0] * 99
        calls = max(1, len(self._times) + self._failed)
        return {
            "answered": len(self._times),
            "failed": self._failed,
            "seconds": self._seconds,
            "p50": cuts[49],
            "p99": cuts[98],
            "cpu": (time.process_time() - self._cpu) / calls,
        }


def run_threads(call: Call, callers: int, watch: Watch) -> None:
    def loop() -> None:
        while watch.goes_on():
            began = time.perf_counter()
            watch.note(began, call())

    threads = [threading.Thread(target=loop) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def run_tasks(call: AsyncCall, callers: int, watch: Watch) -> None:
    async def loop() -> None:
        while watch.goes_on():
            began = time.perf_counter()
            watch.note(began, await call())

    await asyncio.gather(*(loop() for _ in range(callers)))


def main(arguments: list[str]) -> None:
    caller, url, callers, warm_up, seconds = arguments
    if caller in CALLERS:
        call = CALLERS[caller](url, int(callers))
        watch = Watch(float(warm_up), float(seconds))
        run_threads(call, int(callers), watch)
    else:
        async_call = ASYNC_CALLERS[caller](url, int(callers))
        watch = Watch(float(warm_up), float(seconds))
        asyncio.run(run_tasks(async_call, int(callers), watch))
    print(json.dumps(watch.result()))


def _limits(callers: int) -> Any:
    import httpx2

    return httpx2.Limits(max_connections=callers, max_keepalive_connections=callers, keepalive_expiry=30)


def _definition(url: str, callers: int) -> dict[str, Any]:
    auth = {
        "kind": "oauth2_client_credentials",
        "token_url": f"{url}/token",
        "client_id": CLIENT,
        "client_secret": {"config": "SECRET"},
    }
    return {"url": url, "pool": callers, "auth": auth}


if __name__ == "__main__":
    main(sys.argv[1:])
