"""``python -m benchmarks fuzz``: strange requests at every route of the example app.

Three sources: requests that are right but for one part, and wild ones (paths, methods, headers, bodies,
tokens), both by hypothesis; and what schemathesis reads out of ``/swagger.json``. No answer may be 5xx,
nobody may be let in with what is not right for that route and that organization, and what the platform
has proven must stand unchanged at the end. Each guarded route must have been entered, or it was not tried.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from .fuzz_requests import Drawn, Requests
from .fuzz_world import World, world
from .options import Options

REQUESTS = 100_000


def fuzz_with_hypothesis(world: World, count: int) -> None:
    """Send ``count`` requests of our own making, most of them nearly right."""
    requests = Requests(world)

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=False,
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(requests.nearly_right() | requests.nearly_right() | requests.wild())
    def run(drawn: Drawn) -> None:
        drawn.send(world)
        _show(world)

    run()


def fuzz_with_schemathesis(world: World, count: int) -> None:
    """Send about ``count`` requests that the Swagger document suggests, right and wrong ones."""
    schema = schemathesis.openapi.from_wsgi("/swagger.json", world.app)
    operations: list[Any] = [result.ok() for result in schema.get_all_operations()]  # type: ignore[union-attr]
    for operation in operations:
        strategy = operation.as_strategy()

        @settings(
            max_examples=max(1, count // len(operations)),
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def run(case: Any) -> None:
            response = case.call()
            origin = (case.query or {}).get("origin")
            world.judge(case.method, case.path, response.status_code, case.headers or {}, origin)
            _show(world)

        run()


def _show(world: World) -> None:
    done = world.statuses.total()
    if done % 5000 == 0 and sys.stderr.isatty():
        print(f"\r{done} requests", end="", file=sys.stderr, flush=True)


def fuzz(count: int) -> Counter[int]:
    """Send ``count`` requests, a fifth of them by schemathesis.

    :returns: how often each status was answered.
    :raises Failed: where one was answered as none may be.
    """
    logging.disable(logging.CRITICAL)
    try:
        with world() as target:
            fuzz_with_schemathesis(target, count // 5)
            while (left := count - target.statuses.total()) > 0:
                fuzz_with_hypothesis(target, left)
            target.check_trust()
            target.check_everybody_came_in()
            return target.statuses
    finally:
        logging.disable(logging.NOTSET)


def run(options: Options) -> str:
    """:returns: the report.
    :raises Failed: where a request was answered as none may be.
    """
    began = time.monotonic()
    statuses = fuzz(options.count or REQUESTS)
    lines = [f"{statuses.total()} requests in {time.monotonic() - began:.0f} s, none 5xx, nobody let in.\n"]
    return "\n".join(lines + [f"{status}: {number}" for status, number in sorted(statuses.items())])
