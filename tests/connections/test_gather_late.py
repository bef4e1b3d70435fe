"""What is late, fails at once or cannot be ended, and what becomes of the rest."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any

import pytest

from flask_orbro import ConnectionUnavailable, Gathered
from flask_orbro.connections import async_gather, gather, gathering
from flask_orbro.http.network import deadline


def test_a_deadline_that_is_over_binds_other_calls_within_too() -> None:
    release = threading.Event()
    inner: list[Gathered] = []
    with deadline(0.2):
        inner.append(gather(timeout=30, slow=lambda: release.wait(20)))
    release.set()
    assert list(inner[0].errors) == ["slow"]


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_less_than_no_time_is_no_timeout(timeout: float) -> None:
    with pytest.raises(ValueError, match="number of seconds"):
        gather(timeout=timeout, a=dict)
    with pytest.raises(ValueError, match="number of seconds"):
        asyncio.run(async_gather(timeout=timeout))


def test_threads_that_do_not_end_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MOST_LATE", 3)
    release = threading.Event()
    try:
        for _ in range(2):
            gather(timeout=0.05, a=lambda: release.wait(60), b=lambda: release.wait(60))
        refused = gather(timeout=5, c=lambda: pytest.fail("was begun"))
        assert isinstance(refused.errors["c"], ConnectionUnavailable)
        assert "earlier calls" in str(refused.errors["c"])
    finally:
        release.set()
    while gathering._late:
        time.sleep(0.001)
    assert gather(timeout=5, c=lambda: 1).results == {"c": 1}


def test_a_script_ends_although_a_call_does_not() -> None:
    script = """
import time
from flask_orbro.connections import gather
print(list(gather(timeout=0.1, slow=lambda: time.sleep(60)).errors))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=50)
    assert (ran.returncode, ran.stdout.strip()) == (0, "['slow']"), ran.stderr


class TestTasks:
    """What is peculiar to tasks."""

    def test_what_a_call_raises_at_once_is_its_own_error(self) -> None:
        def bad() -> Any:
            raise KeyError("no such connection")

        async def main() -> tuple[Gathered, int]:
            gathered = await async_gather(
                slow=asyncio.sleep(0.05, "slow"), bad=bad, odd=lambda: 5, good=lambda: asyncio.sleep(0, 1)
            )
            return gathered, len(asyncio.all_tasks())

        gathered, tasks = asyncio.run(main())
        assert gathered.results == {"slow": "slow", "good": 1}
        assert {name: type(error) for name, error in gathered.errors.items()} == {
            "bad": KeyError,
            "odd": TypeError,
        }
        assert tasks == 1

    def test_one_that_is_cancelled_takes_none_with_it(self) -> None:
        async def gone() -> None:
            raise asyncio.CancelledError

        async def main() -> Gathered:
            return await async_gather(gone=gone, good=asyncio.sleep(0, 1))

        gathered = asyncio.run(main())
        assert (gathered.results, str(gathered.errors["gone"].detail)) == (
            {"good": 1},
            "'gone' was cancelled.",
        )

    def test_one_that_will_not_be_cancelled_is_left_alone(self) -> None:
        async def main() -> tuple[Gathered, bool]:
            release = asyncio.Event()

            async def stubborn() -> None:
                while not release.is_set():
                    with suppress(asyncio.CancelledError):
                        await release.wait()
                raise RuntimeError("nobody looks at this")

            task = asyncio.ensure_future(stubborn())
            gathered = await async_gather(timeout=0.05, stubborn=task)
            still = not task.done()
            release.set()
            await asyncio.wait([task])
            return gathered, still

        gathered, still = asyncio.run(main())
        assert (list(gathered.errors), still) == (["stubborn"], True)
