"""A caller that makes the same call in each of the ways in which an app may make one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from flask import Flask

from flask_orbro import AsyncPlatformClient, OrbroConnect, PlatformClient, PlatformResponse
from flask_orbro.state import get_state

from ..http.raw_server import RawServer, Respond
from ..world import USERS_PATH, World

WAYS = ("sync", "asyncio", "async view")

SyncWork = Callable[[PlatformClient], Any]
AsyncWork = Callable[[AsyncPlatformClient], Awaitable[Any]]


class Caller:
    """Calls for ``acme`` in one way, always with the same words.

    :param way: one of :data:`WAYS`.
    """

    def __init__(self, world: Any, way: str) -> None:
        self.world, self.way = world, way
        self._work: Any = None
        self._done: Any = None
        world.app.add_url_rule("/-/call", "call", self._async_view)

    @property
    def is_async(self) -> bool:
        return self.way.startswith("async")

    def __call__(self, method: str = "GET", path: str = USERS_PATH, **options: Any) -> PlatformResponse:
        async def awaited(client: AsyncPlatformClient) -> PlatformResponse:
            return await client.request(method, path, **options)

        answer: PlatformResponse = self.run(lambda client: client.request(method, path, **options), awaited)
        return answer

    def download(self, path: str = USERS_PATH, **options: Any) -> list[bytes]:
        """A body in the parts in which it came."""

        def parts(client: PlatformClient) -> list[bytes]:
            with client.stream("GET", path, **options) as response:
                return list(response.raise_for_status().iter_bytes())

        async def awaited(client: AsyncPlatformClient) -> list[bytes]:
            async with client.stream("GET", path, **options) as response:
                return [part async for part in response.raise_for_status().aiter_bytes()]

        found: list[bytes] = self.run(parts, awaited)
        return found

    def run(self, work: SyncWork, awaited: AsyncWork) -> Any:
        """What the work that fits this way gives, or raises."""
        orbro, who, app = self.world.orbro, self.world.organization_id, self.world.app
        if self.way == "sync":
            return work(orbro.client_for(who, app=app))
        if self.way == "asyncio":

            async def main() -> Any:
                return await awaited(orbro.async_client_for(who, app=app))

            return asyncio.run(main())
        self._work = awaited
        self.world.client.get("/-/call")
        if isinstance(self._done, BaseException):
            raise self._done
        return self._done

    async def _async_view(self) -> dict[str, Any]:
        try:
            self._done = await self._work(self.world.orbro.async_client_for(self.world.organization_id))
        except Exception as error:
            self._done = error
        return {}


MakeWorld = Callable[..., World]
MakeCaller = Callable[..., Caller]


@pytest.fixture(params=WAYS)
def make_caller(request: pytest.FixtureRequest, make_world: MakeWorld) -> MakeCaller:
    def make(**config: Any) -> Caller:
        caller = Caller(make_world(install=False, **config), request.param)
        caller.world.install()
        return caller

    return make


class RawWorld:
    """An app whose platform answers with raw bytes; it is installed for one organization.

    :param respond: as of :class:`~tests.http.raw_server.RawServer`.
    """

    def __init__(self, make_app: Callable[..., Flask], respond: Respond, **config: Any) -> None:
        self.server = RawServer(respond)
        self.orbro, self.organization_id = OrbroConnect(), "o-1"
        host = f"orbro.localhost:{self.server.port}"
        self.app = make_app(
            self.orbro,
            **{"ORBRO_PLATFORM_HOST": host, "ORBRO_INSTALL_PROOF": "none", "ORBRO_METRICS": True} | config,
        )
        self.client = self.app.test_client()

    def install(self) -> None:
        body = {"organization_id": "o-1", "subdomain": "acme", "shared_secret": "s" * 40, "user_id": "u-1"}
        assert self.client.post("/installed", json=body).status_code == 200

    @property
    def tokens(self) -> list[bytes]:
        """Those that the platform has seen, in their order."""
        return [head.split(b"Bearer ")[1].split(b"\r\n")[0] for head in self.server.requests]

    @property
    def made(self) -> float | None:
        """How many tokens were made."""
        with self.app.app_context():
            made: float | None = self.orbro.metrics_registry.get_sample_value("orbro_tokens_total")
        return made


MakeRawCaller = Callable[..., tuple[Caller, RawWorld]]


@pytest.fixture(params=WAYS)
def make_raw_caller(
    request: pytest.FixtureRequest, make_app: Callable[..., Flask]
) -> Iterator[MakeRawCaller]:
    """As ``make_caller``, of a :class:`RawWorld`."""
    with ExitStack() as stack:

        def make(respond: Respond, **config: Any) -> tuple[Caller, RawWorld]:
            world = RawWorld(make_app, respond, **config)
            stack.callback(world.server.close)
            stack.callback(get_state(world.app).close)  # else the server waits for its connections
            caller = Caller(world, request.param)
            world.install()
            return caller, world

        yield make


def client_of(world: World, subdomain: str = "acme") -> PlatformClient:
    return world.orbro.client_for(world.platform.organization(subdomain).id, app=world.app)


def tokens_of(world: World, path: str = USERS_PATH) -> list[str]:
    """The tokens that the platform has seen, in their order."""
    return [token.removeprefix("Bearer ") for seen, token in world.seen if seen == path]
