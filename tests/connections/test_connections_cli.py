"""``flask orbro connections``: what it lists, and how it tells whether a connection works."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from flask_orbro.cli import orbro
from flask_orbro.simulator import SimulatorServer

from ..world import USERS_PATH, World
from .backend import Backend, running_backend

SECRET = "s3cret-of-the-command-line"
NO_ANSWER = "The connection '{}' cannot be used: There is no answer: {}."


@pytest.fixture
def backend() -> Iterator[Backend]:
    with running_backend() as backend:
        yield backend


def definitions(backend: Backend) -> dict[str, Any]:
    return {
        "weather": {
            "url": backend.url,
            "health": "/status/204",
            "auth": {"kind": "api_key", "key": {"config": "KEY"}, "query": "key"},
        },
        "notes": {
            "url": backend.url,
            "health": "/guarded",
            "auth": {
                "kind": "oauth2_client_credentials",
                "token_url": backend.url + "/token",
                "client_id": "app",
                "client_secret": {"config": "SECRET"},
            },
        },
        "unhealthy": {"url": backend.url, "health": "/status/503"},
        "gone": {"url": "http://127.0.0.1:9", "health": "/"},
        "nobody": {"url": "https://nobody.invalid", "health": "/", "retries": 0},
        "bare": {"url": backend.url},
        "patients": {"url": backend.url, "kind": "fhir"},
        "graph": {"url": backend.url, "health": "/a", "auth": {"kind": "forward"}},
        "platform": {"auth": {"kind": "connect_app"}, "health": USERS_PATH},
    }


def run(app: Flask, *arguments: str) -> Result:
    result = app.test_cli_runner().invoke(orbro, ["connections", *arguments])
    assert "Traceback" not in result.output
    assert SECRET not in result.output
    return result


@pytest.fixture
def app(make_app: Callable[..., Flask], backend: Backend) -> Flask:
    return make_app(KEY=SECRET, SECRET=backend.secret, ORBRO_CONNECTIONS=definitions(backend))


def test_the_list_tells_name_kind_login_and_url(app: Flask, backend: Backend) -> None:
    lines = [line.split() for line in run(app).output.splitlines()]
    assert lines[0] == ["weather", "rest", "api_key", backend.url]
    assert ["patients", "fhir", "none", backend.url] in lines
    assert lines[-1] == ["platform", "rest", "connect_app", "-"]
    told = [json.loads(line) for line in run(app, "--json").output.splitlines()]
    assert told[1] == {
        "name": "notes", "kind": "rest", "auth": "oauth2_client_credentials", "url": backend.url,
    }  # fmt: skip


def test_a_check_tells_each_step_and_its_time(app: Flask, backend: Backend) -> None:
    result = run(app, "check", "notes")
    assert result.exit_code == 0
    token, call = result.output.splitlines()
    assert re.fullmatch(r"ok +token +\d+ ms +good for (599|600) s", token)
    assert re.fullmatch(r"ok +GET /guarded +\d+ ms +200", call)
    assert not any(made in result.output for made in backend.tokens)


def test_a_check_asks_for_a_new_token_each_time(app: Flask, backend: Backend) -> None:
    for _ in range(2):
        assert run(app, "check", "notes").exit_code == 0
    assert len(backend.tokens) == 2


@pytest.mark.parametrize(
    ("name", "exit_code", "steps"),
    [
        ("weather", 0, [("GET /status/204", True, "204")]),
        ("unhealthy", 1, [("GET /status/503", False, "503")]),
        ("gone", 1, [("GET /", False, NO_ANSWER.format("gone", "the connection is refused"))]),
        ("nobody", 1, [("GET /", False, NO_ANSWER.format("nobody", "its name is not known"))]),
        ("bare", 0, [("call", True, "left out: the definition names no 'health' path")]),
        ("patients", 0, [("GET /metadata", True, "200")]),
        ("graph", 0, [("token", True, "forwards its caller's; called without one"), ("GET /a", True, "200")]),
    ],
)
def test_a_check_fails_where_a_step_does(
    app: Flask, backend: Backend, name: str, exit_code: int, steps: list[tuple[str, bool, str]]
) -> None:
    result = run(app, "check", name, "--json")
    told = [json.loads(line) for line in result.output.splitlines()]
    assert [(step["step"], step["ok"], step["said"]) for step in told] == steps
    assert all(0 <= step["seconds"] < 10 for step in told)
    assert result.exit_code == exit_code


def test_a_wrong_secret_ends_the_check(make_app: Callable[..., Flask], backend: Backend) -> None:
    app = make_app(KEY=SECRET, SECRET=SECRET, ORBRO_CONNECTIONS=definitions(backend))
    result = run(app, "check", "notes")
    assert result.exit_code == 1
    assert re.fullmatch(r"failed +token +\d+ ms .*401 \(invalid_client\)\.\n", result.output)
    assert backend.paths("/guarded") == []


def test_a_check_tells_why_there_is_no_token(make_app: Callable[..., Flask], backend: Backend) -> None:
    given = definitions(backend)
    given["notes"]["auth"]["token_url"] = "http://127.0.0.1:9/token"
    app = make_app(KEY=SECRET, SECRET=SECRET, ORBRO_CONNECTIONS=given)
    result = run(app, "check", "notes")
    assert result.exit_code == 1
    assert "its token URL does not answer: the connection is refused." in result.output


def test_an_unknown_name_is_answered_with_those_there_are(app: Flask) -> None:
    result = run(app, "check", "wether")
    assert result.exit_code == 1
    assert "There is no connection wether; there are: weather, notes" in result.output


def test_the_platform_is_checked_for_an_organization(
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    simulator: SimulatorServer,
    backend: Backend,
) -> None:
    given = {"KEY": SECRET, "SECRET": SECRET, "ORBRO_CONNECTIONS": definitions(backend)}
    world = partial(World, make_app, serving, simulator)(**given)
    good = run(world.app, "check", "platform", "--organization", world.organization_id)
    assert (good.exit_code, good.output.split()[-1]) == (0, "200")
    for more, words in (
        ((), "name it with --organization"),
        (("--organization", "nobody"), "has not installed the app"),
    ):
        result = run(world.app, "check", "platform", *more)
        assert result.exit_code == 1
        assert words in result.output
