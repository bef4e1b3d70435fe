"""``python -m benchmarks conformance``: whether the app answers as ``/swagger.json`` says, and only so.

schemathesis draws requests for every operation, such as the document allows and such as it does not, and
each is sent without a credential and with the right one. No answer may be 5xx, have a status, a content
type or a body that the document does not name, or accept a body that the document forbids.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from .fuzz_world import Failed, World, world
from .options import Options

REQUESTS = 20_000

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
#: What a delivery says is not judged, and with HTTP Basic the body of a log-in is not read.
BODY_NOT_JUDGED = {"POST /webhook/device", "POST /webhook/events", "POST /user/auth"}


def conform(count: int) -> Counter[tuple[str, int]]:
    """Send about ``count`` requests.

    :returns: how often each operation, such as ``GET /posts``, answered each status.
    :raises Failed: where an answer is not as the document says.
    """
    logging.disable(logging.CRITICAL)
    try:
        with world() as target:
            schema = schemathesis.openapi.from_wsgi("/swagger.json", target.app)
            operations: list[Any] = [found.ok() for found in schema.get_all_operations()]  # type: ignore[union-attr]
            answers: Counter[tuple[str, int]] = Counter()
            for operation in operations:
                _conform(target, operation, max(2, count // len(operations)), answers)
            target.check_trust()
            return answers
    finally:
        logging.disable(logging.NOTSET)


def _conform(world: World, operation: Any, count: int, answers: Counter[tuple[str, int]]) -> None:
    valid, invalid = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)
    drawn = st.tuples(st.just(True), valid) | st.tuples(st.just(False), invalid)

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(drawn, st.booleans())
    def run(drawn: tuple[bool, Any], authorized: bool) -> None:
        is_valid, case = drawn
        case.headers.pop("Authorization", None)
        if authorized:
            case.headers.update(_credential(world, case))
            if is_valid:
                _make_own(world, case)
        response = case.call()
        answers[operation.label, response.status_code] += 1
        origin = (case.query or {}).get("origin")
        world.judge(case.method, case.formatted_path, response.status_code, case.headers, origin)
        excluded = [checks.negative_data_rejection] if operation.label in BODY_NOT_JUDGED else []
        case.validate_response(response, checks=CHECKS, excluded_checks=excluded)

    try:
        run()
    except FailureGroup as failure:
        found = "\n".join(str(error) for error in failure.exceptions)
        raise Failed(f"{operation.label}: {found}") from None


def _credential(world: World, case: Any) -> dict[str, str]:
    """The headers of a caller whom the operation lets in."""
    schemes = [name for entry in case.operation.definition.raw.get("security", []) for name in entry]
    if not schemes:
        return {}
    if schemes[0] == "basic":
        return {"Authorization": world.basic}
    name = schemes[0]
    if name == "bearer":
        name = "refresh_token" if case.path == "/user/refresh" else "access_token"
    named = {"sub": "acme"} if name in ("orbroUser", "orbroConnectApp") else {}
    return named | {"Authorization": f"Bearer {world.tokens[name]}"}


def _make_own(world: World, case: Any) -> None:
    """Have the request be about a post of the caller, which chance would hardly hit upon."""
    if isinstance(case.body, dict) and isinstance(case.body.get("author_id"), str):
        case.body["author_id"] = "ada"
    if isinstance(case.path_parameters.get("id"), int):
        case.path_parameters["id"] = world.write_post()


def run(options: Options) -> str:
    """:returns: the report.
    :raises Failed: where an answer is not as the document says.
    """
    began = time.monotonic()
    answers = conform(options.count or REQUESTS)
    lines = [f"{answers.total()} requests in {time.monotonic() - began:.0f} s, all answered as documented.\n"]
    for operation in sorted({operation for operation, _ in answers}):
        found = sorted((status, number) for (name, status), number in answers.items() if name == operation)
        lines.append(f"{operation}: " + ", ".join(f"{number} x {status}" for status, number in found))
    return "\n".join(lines)
