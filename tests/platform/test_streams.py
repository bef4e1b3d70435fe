"""What is read while it is sent, or sent while it is read, is its caller's affair alone."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ..world import USERS_PATH
from .conftest import MakeWorld
from .test_body import answer_at


class SlowFile(io.BytesIO):
    """Says when it is read, and waits to be let go."""

    def __init__(self) -> None:
        super().__init__(b"walls")
        self.reached, self.go = threading.Event(), threading.Event()

    def read(self, size: int | None = -1) -> bytes:
        self.reached.set()
        assert self.go.wait(10)
        return super().read(size)

    def parts(self) -> Iterator[bytes]:
        yield self.read()


BODIES: dict[str, Callable[[SlowFile], dict[str, Any]]] = {
    "a generator": lambda slow: {"content": slow.parts()},
    "a file": lambda slow: {"content": slow},
    "a form": lambda slow: {"files": {"plan": slow}},
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_slow_body_of_one_async_view_holds_up_no_other(
    make_world: MakeWorld, body: Callable[[SlowFile], dict[str, Any]]
) -> None:
    world, slow = make_world(install=False), SlowFile()

    @world.app.get("/up")
    async def up() -> dict[str, int]:
        client = world.orbro.async_client_for(world.organization_id)
        return {"status": (await client.post("/echo", **body(slow))).status_code}

    @world.app.get("/down")
    async def down() -> dict[str, int]:
        client = world.orbro.async_client_for(world.organization_id)
        return {"status": (await client.get(USERS_PATH)).status_code}

    world.install()
    received = answer_at(world, "/echo", [], b"{}")
    with ThreadPoolExecutor(2) as pool:
        upload = pool.submit(lambda: world.app.test_client().get("/up").json)
        try:
            assert slow.reached.wait(10)
            assert pool.submit(lambda: world.app.test_client().get("/down").json).result(5) == {"status": 200}
            assert not upload.done()
        finally:
            slow.go.set()
        assert upload.result(10) == {"status": 200}
    assert b"walls" in received[0]
