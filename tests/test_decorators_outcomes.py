"""What a caller is told, whatever the platform does: nobody is let in, or sent away, by a fault."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from .world import CONNECT_PATH, KINDS, OPEN_API_PATH, USER_PATH, World, is_problem

ACCEPTED: dict[str, Any] = {"uuid": "u", "role": "HQ", "status": "A"}
PATHS = {"/user": USER_PATH, "/connect": CONNECT_PATH, "/open": OPEN_API_PATH}

#: What the platform does, and what the caller is told.
OUTCOMES: dict[str, tuple[dict[str, Any], int]] = {
    "refused": ({"status": 401, "body": {"error_code": "INVALID"}}, 401),
    "refused with an acceptance": ({"status": 401, "body": ACCEPTED}, 401),
    "forbidden": ({"status": 403, "body": {}}, 401),
    "forbidden in HTML": ({"status": 403, "body": "<h1>Firewall</h1>"}, 503),
    "expired": ({"status": 401, "body": {"error_code": "TOKEN_EXPIRED"}}, 401),
    "limited": ({"status": 429, "body": {}, "headers": {"Retry-After": "7"}}, 429),
    "limited in HTML": ({"status": 429, "body": "<h1>Slow</h1>"}, 429),
    "limited, with a date": (
        {"status": 429, "headers": {"Retry-After": "Sat, 01 Jan 2028 00:00:00 GMT"}},
        429,
    ),
    "limited for ever": ({"status": 429, "headers": {"Retry-After": "9" * 400}}, 429),
    "bad request": ({"status": 400, "body": {}}, 503),
    "not found": ({"status": 404, "body": {}}, 503),
    "broken": ({"status": 500, "body": ACCEPTED}, 503),
    "bad gateway": ({"status": 502, "body": "<h1>Bad gateway</h1>"}, 503),
    "HTML": ({"status": 200, "body": "<h1>Log in</h1>"}, 503),
    "nothing": ({"status": 204}, 503),
    "created": ({"status": 201, "body": ACCEPTED}, 503),
    "a list": ({"status": 200, "body": [ACCEPTED]}, 503),
    "null": ({"status": 200, "body": "null", "content_type": "application/json"}, 503),
    "cut off": ({"status": 200, "body": '{"uuid": "u", "role"', "content_type": "application/json"}, 503),
    "without an id": ({"status": 200, "body": {"role": "HQ", "status": "A"}}, 503),
    "with an empty id": ({"status": 200, "body": {"uuid": "", "role": "HQ", "status": "A"}}, 503),
    "with a number": ({"status": 200, "body": {"uuid": "u", "role": 1, "status": "A"}}, 503),
    "redirect": ({"redirect": "http://127.0.0.1:1/"}, 503),
    "redirect to an answer": ({"status": 307, "redirect": "/api/v1/users", "body": ACCEPTED}, 503),
    "redirect to no URL": ({"redirect": "http://[bad"}, 503),
    "redirect to no port": ({"status": 308, "redirect": "http://a:b/", "body": ACCEPTED}, 503),
    "endless": ({"status": 200, "body": {"uuid": "u" * 100_000, "role": "", "status": ""}}, 503),
    "packed badly": ({"status": 200, "body": "x", "headers": {"Content-Encoding": "gzip"}}, 503),
    "dropped": ({"drop": True}, 503),
}


def _token(world: World, view: str) -> str:
    if view == "/open":
        return world.platform.open_api_token()
    return (world.platform.user_token if view == "/user" else world.platform.connect_token)("acme")


@pytest.mark.parametrize("testing", [True, False], ids=["testing", "production"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_platform_fault_lets_nobody_in_and_is_no_refusal(
    make_world: Callable[..., World], kind: str, testing: bool
) -> None:
    world = make_world(kind=kind, TESTING=testing, ORBRO_OUTAGE_MEMORY=0)
    wrong = []
    for view, path in PATHS.items():
        for name, (fault, status) in OUTCOMES.items():
            world.platform.faults.set(path, **fault)
            answer = world.get(view, _token(world, view))
            retry = answer.headers.get("Retry-After", "")
            if answer.status_code != status or answer.content_type != "application/problem+json":
                wrong.append((view, name, answer.status_code, answer.content_type))
            if (status in (429, 503)) != (retry.isdigit() and 0 < int(retry) <= 3600):
                wrong.append((view, name, "Retry-After", retry))
            if (status == 401) != ("WWW-Authenticate" in answer.headers):
                wrong.append((view, name, "WWW-Authenticate"))
    assert wrong == []


def test_retry_after_is_the_platforms(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.platform.faults.set(USER_PATH, status=429, headers={"Retry-After": "7"})
    assert world.get("/user", _token(world, "/user")).headers["Retry-After"] == "7"


def test_an_expired_token_is_told_so(make_world: Callable[..., World]) -> None:
    world = make_world()
    token = world.platform.user_token("acme", expires_in=-5)
    answer = world.get("/user", token)
    assert is_problem(answer, 401)["code"] == "token_expired"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="orbro", error="invalid_token"'


def test_a_slow_answer_is_waited_for_and_a_slower_one_is_not(make_world: Callable[..., World]) -> None:
    world = make_world(ORBRO_VERDICT_TIMEOUT=0.4)
    world.platform.faults.set(USER_PATH, delay=0.15)
    assert world.get("/user", _token(world, "/user")).status_code == 200
    world.platform.faults.set(USER_PATH, delay=20)
    began = time.monotonic()
    is_problem(world.get("/user", _token(world, "/user")), 503)
    assert time.monotonic() - began < 2


def test_an_outage_ends_when_the_platform_is_back(make_world: Callable[..., World]) -> None:
    world = make_world(ORBRO_OUTAGE_MEMORY=0.1)
    token = _token(world, "/user")
    world.platform.faults.set(USER_PATH, drop=True)
    is_problem(world.get("/user", token), 503)
    world.platform.faults.clear()
    time.sleep(0.15)
    assert world.get("/user", token).status_code == 200


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is, for those who ask the time of day: it stands still until a test moves it."""
    now = [time.time()]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


@pytest.mark.parametrize("view", PATHS)
def test_an_acceptance_is_remembered_for_a_while(
    make_world: Callable[..., World], clock: list[float], view: str
) -> None:
    world = make_world(ORBRO_VERDICT_TTL=600, ORBRO_VERDICT_NEGATIVE_TTL=60)
    token, before = _token(world, view), world.asked(PATHS[view])
    for passed, asked in ((0, 1), (0, 1), (599, 1), (1, 2), (0, 2)):
        clock[0] += passed
        assert world.get(view, token).status_code == 200
        assert world.asked(PATHS[view]) - before == asked


def test_a_refusal_is_remembered_for_a_shorter_while(
    make_world: Callable[..., World], clock: list[float]
) -> None:
    world = make_world(ORBRO_VERDICT_TTL=600, ORBRO_VERDICT_NEGATIVE_TTL=60)
    for passed, asked in ((0, 1), (0, 1), (59, 1), (1, 2), (0, 2)):
        clock[0] += passed
        is_problem(world.get("/user", "nobodys.token.here"), 401)
        assert world.asked(USER_PATH) == asked


@pytest.mark.parametrize(("retry_after", "asked"), [("60", 1), (None, 10), ("0", 10)])
def test_who_is_limited_is_not_asked_about_for_as_long_as_the_platform_says(
    make_world: Callable[..., World], retry_after: str | None, asked: int
) -> None:
    world = make_world()
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    world.platform.faults.set(USER_PATH, status=429, headers=headers)
    token = _token(world, "/user")
    for _ in range(10):
        answer = world.get("/user", token)
        assert is_problem(answer, 429)["code"] == "rate_limited"
        assert answer.headers["Retry-After"] == (retry_after if asked == 1 else "1")
    assert world.asked(USER_PATH) == asked
    world.get("/user", "another")
    assert world.asked(USER_PATH) == asked + 1, "others are not limited"


def test_a_limit_is_kept_no_longer_than_a_refusal(make_world: Callable[..., World]) -> None:
    world = make_world(ORBRO_VERDICT_NEGATIVE_TTL=0.3)
    world.platform.faults.set(USER_PATH, status=429, headers={"Retry-After": "3600"})
    token = _token(world, "/user")
    assert world.get("/user", token).status_code == 429
    world.platform.faults.clear()
    time.sleep(0.35)
    assert world.get("/user", token).status_code == 200


def test_neither_a_fault_nor_a_limit_is_remembered_as_a_verdict(make_world: Callable[..., World]) -> None:
    world = make_world(ORBRO_OUTAGE_MEMORY=0)
    token = _token(world, "/user")
    for fault in ({"status": 500}, {"status": 429}, {"drop": True}):
        world.platform.faults.set(USER_PATH, **fault)
        assert world.get("/user", token).status_code in (429, 503)
    world.platform.faults.clear()
    assert world.get("/user", token).status_code == 200


def test_an_acceptance_is_never_remembered_past_the_tokens_expiry(
    make_world: Callable[..., World], clock: list[float]
) -> None:
    world = make_world(ORBRO_VERDICT_TTL=3600)
    world.platform.clock = lambda: clock[0]
    token = world.platform.user_token("acme", expires_in=10)
    assert world.get("/user", token).status_code == 200
    clock[0] += 9
    assert world.get("/user", token).status_code == 200
    assert world.asked(USER_PATH) == 1
    clock[0] += 2
    assert is_problem(world.get("/user", token), 401)["code"] == "token_expired"


@pytest.mark.parametrize(
    "exp", ["1", "-1", "1e308", "1e999", '"soon"', "null", "true", '1, "x": 1, "x": 2', '1, "x": NaN']
)
def test_an_odd_expiry_of_an_accepted_token_breaks_nothing_and_is_not_relied_upon(
    make_world: Callable[..., World], exp: str
) -> None:
    world = make_world()
    world.platform.faults.set(USER_PATH, status=200, body=ACCEPTED)
    token = jwt.PyJWS().encode(f'{{"exp": {exp}}}'.encode(), "k" * 32, algorithm="HS256")
    for asked in (1, 2):
        assert world.get("/user", token).status_code == 200
        assert world.asked(USER_PATH) == asked, "an acceptance was kept that may be over"


def test_a_verdict_of_one_organization_says_nothing_about_another(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.install("other")
    token = world.platform.user_token("acme")
    assert world.get("/user", token).status_code == 200
    is_problem(world.get("/user", token, origin=world.origin("other")), 401)
    assert world.get("/user", token).status_code == 200


def test_an_opaque_token_has_no_email(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.platform.faults.set(USER_PATH, status=200, body=ACCEPTED)
    assert world.get("/user", "opaque-token").json["email"] is None
