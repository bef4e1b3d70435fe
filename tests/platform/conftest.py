"""A caller that makes the same call in each of the ways in which an app may make one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flask_orbro import AsyncPlatformClient, PlatformClient, PlatformResponse

from ..world import USERS_PATH, World

WAYS = ("sync", "asyncio", "async view")

SyncWork = Callable[[PlatformClient], Any]
AsyncWork = Callable[[AsyncPlatformClient], Awaitable[Any]]


class Caller:
    """Calls for ``acme`` in one way, always with the same words.

    :param way: one of :data:`WAYS`.
    """

    def __init__(self, world: World, way: str) -> None:
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


def client_of(world: World, subdomain: str = "acme") -> PlatformClient:
    return world.orbro.client_for(world.platform.organization(subdomain).id, app=world.app)


def tokens_of(world: World, path: str = USERS_PATH) -> list[str]:
    """The tokens that the platform has seen, in their order."""
    return [token.removeprefix("Bearer ") for seen, token in world.seen if seen == path]
