"""A caller cannot name the server that is asked: however it is spelt, an attacker's is never called."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from flask import Flask, Response, request

from .conftest import bearer, serve
from .world import KINDS, USER_PATH, World, is_problem

both_modes = pytest.mark.parametrize("testing", [True, False], ids=["testing", "production"])


@pytest.fixture
def attacker() -> Iterator[tuple[str, list[str]]]:
    """A server that says yes to everything, its port, and the requests that it got."""
    requests: list[str] = []
    app = Flask("attacker")

    @app.before_request
    def yes() -> Response:
        requests.append(f"{request.host}{request.path}")
        verdict = {"id": "i", "uuid": "u", "role": "HQ", "status": "Activated", "scope": "", "data": []}
        return app.json.response(verdict | {"organization_id": "any"})

    with serve(app) as url:
        yield url.rpartition(":")[2], requests


def spellings(port: str, platform: str) -> list[str]:
    """Origins that some URL parser somewhere takes for the attacker's server, or for no label."""
    evil = f"127.0.0.1:{port}"
    name = f"evil.localhost:{port}"
    host = platform.partition(":")[0]
    return [
        f"http://{evil}",
        f"http://{name}",
        f"https://{evil}",
        f"//{evil}",
        evil,
        f"http://{evil}/",
        f"http://{evil}/.{platform}",
        f"http://{evil}#.{platform}",
        f"http://{evil}?.{platform}",
        f"http://{evil}\\.{platform}",
        f"http://{evil}%23.{platform}",
        f"http://{evil}%2f.{platform}",
        f"http://{evil}%00.{platform}",
        f"http://{evil}\x00.{platform}",
        f"http://{evil}\r\nHost: .{platform}",
        f"http://{evil}\t.{platform}",
        f"http://{evil} .{platform}",
        f"http://acme.{platform}@{evil}",
        f"http://{evil}@acme.{platform}",
        f"http://acme:acme@acme.{platform}",
        f"http://acme.{host}:{port}",
        f"http://acme.{platform}.{name}",
        f"http://acme.{platform}:{port}",
        f"http://acme.{platform}/@{evil}",
        f"http://acme.{platform}/..//{evil}",
        f"http://acme.{platform}?x={evil}",
        f"http://acme.{platform} ",
        f" http://acme.{platform}",
        f"http://acme.{platform}.",
        f"http://acme..{platform}",
        f"http://a.acme.{platform}",
        f"http://.{platform}",
        f"http://{platform}",
        f"http://-acme.{platform}",
        f"http://acme\u3002{platform}",
        f"http://\u0430cme.{platform}",
        f"http://\uff41cme.{platform}",
        f"http://\u017fcme.{platform}",
        f"http://[::ffff:7f00:1]:{port}",
        f"http://2130706433:{port}",
        f"http://0x7f000001:{port}",
        f"file://acme.{platform}",
        f"javascript:http://acme.{platform}",
        f"https://acme.{platform}",
        "null",
        "",
        "*",
        "a" * 100_000,
        f"http://{'a' * 64}.{platform}",
    ]


@both_modes
@pytest.mark.parametrize("kind", KINDS)
def test_no_spelling_of_an_origin_reaches_the_attackers_server(
    make_world: Callable[..., World], attacker: tuple[str, list[str]], kind: str, testing: bool
) -> None:
    world = make_world(kind=kind, TESTING=testing)
    port, requests = attacker
    token = world.platform.user_token("acme")
    questions = len(world.seen)
    wrong = []
    for origin in spellings(port, world.simulator.platform_host):
        for path in ("/user", "/connect", "/users"):
            status = world.get(path, token, origin=origin).status_code
            if status != 400:
                wrong.append((origin[:80], path, status))
    assert wrong == []
    assert requests == []
    assert len(world.seen) == questions, "nor was the platform bothered"


def test_no_header_names_a_server_either(
    make_world: Callable[..., World], attacker: tuple[str, list[str]]
) -> None:
    world = make_world()
    port, requests = attacker
    token = world.platform.user_token("acme")
    evil = f"127.0.0.1:{port}"
    for sub in (evil, f"{evil}/", f"acme@{evil}", f"{evil}#", "acme.evil", "ac me", "", "acme/../x", "é"):
        answer = world.client.get("/user", headers=bearer(token) | {"sub": sub})
        assert is_problem(answer, 400)["errors"]["sub"]
    named = {"Host": evil, "X-Forwarded-Host": evil, "Origin": f"http://{evil}", "Referer": f"http://{evil}"}
    assert world.get("/user", token, headers=named).status_code == 200
    assert requests == []


def test_a_bad_origin_is_not_saved_by_a_good_header(make_world: Callable[..., World]) -> None:
    world = make_world()
    token = world.platform.user_token("acme")
    answer = world.get("/user", token, origin="http://evil.example", headers={"sub": "acme"})
    is_problem(answer, 400)
    assert world.client.get("/user", headers=bearer(token) | {"sub": "ACME"}).status_code == 200


@pytest.mark.parametrize("kind", KINDS)
@both_modes
def test_a_request_that_names_two_organizations_names_none(
    make_world: Callable[..., World], kind: str, testing: bool
) -> None:
    world = make_world(kind=kind, TESTING=testing)
    world.install("other")
    headers = bearer(world.platform.user_token("acme")) | {"sub": "acme"}
    ours, theirs = world.origin("acme"), world.origin("other")
    for origins in ([ours, theirs], [theirs, ours], [ours, ours], [ours, ""], [ours, "http://evil.example"]):
        answer = world.client.get("/user", query_string={"origin": origins}, headers=headers)
        assert is_problem(answer, 400)["code"] == "organization_malformed"
    assert not world.asked(USER_PATH)
    assert world.client.get("/user", query_string={"origin": [ours]}, headers=headers).status_code == 200
