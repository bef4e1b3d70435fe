"""The fourteen faults of the platform's Python SDK 0.23, one by one: none of them is here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import jwt
import pytest
from flask import Flask

from flask_orbro import NoCallerError, PlatformUnavailable, user_required
from flask_orbro.simulator import SimulatorServer
from flask_orbro.state import get_state

from .conftest import CLIENT_SECRET, serve
from .world import (
    CONNECT_PATH,
    OPEN_API_PATH,
    USER_PATH,
    USERS_PATH,
    World,
    webhook_token,
    who,
)

ANSWERS = {
    "/user": (USER_PATH, {"uuid": "u", "role": "HQ", "status": "Activated"}),
    "/connect": (CONNECT_PATH, {"id": "i", "uuid": "u", "role": "HQ", "status": "A", "scope": ""}),
    "/open": (OPEN_API_PATH, {"uuid": "u", "role": "HQ", "status": "Activated"}),
}


@pytest.mark.parametrize("path", ANSWERS)
def test_fault_01_status_of_remote_verification_is_looked_at(
    make_world: Callable[..., World], path: str
) -> None:
    world = make_world()
    question, body = ANSWERS[path]
    body = body | {"organization_id": world.organization_id}
    for status in (401, 403):
        world.platform.faults.set(question, status=status, body=body)
        assert world.get(path, f"stolen.token.{status}").status_code == 401
    world.platform.faults.set(question, status=200, body=body)
    assert world.get(path, "good.token").status_code == 200, "it is the status that decides"


@pytest.mark.parametrize("path", ANSWERS)
def test_fault_02_no_host_is_asked_because_the_caller_names_it(
    make_world: Callable[..., World], path: str
) -> None:
    world = make_world()
    question, body = ANSWERS[path]
    requests: list[Any] = []
    attacker = Flask("attacker")
    attacker.before_request(lambda: requests.append(1) or body | {"organization_id": world.organization_id})
    asked = world.asked(question)
    with serve(attacker) as url:
        answer = world.get(path, "stolen.or.forged", origin=url)
    # An Open API token belongs to no organization: the platform itself is asked, whatever origin says.
    refused = (401, asked + 1) if path == "/open" else (400, asked)
    assert (requests, answer.status_code, world.asked(question)) == ([], *refused)


def test_fault_03_email_comes_only_from_a_token_that_the_platform_accepted(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    forged = jwt.encode({"data": "boss@acme.example", "exp": 4102444800}, "k" * 32)
    refused = world.get("/user", forged)
    assert (refused.status_code, b"boss" in refused.data) == (401, False)
    accepted = world.get("/user", world.platform.user_token("acme"))
    assert accepted.json["email"] == "admin@acme.example"


def test_fault_04_nobody_takes_over_or_wipes_an_organization(make_world: Callable[..., World]) -> None:
    world = make_world()
    before = world.stored()
    own = "attackers-own-secret-0123456789-0123456789"
    claim = {"organization_id": world.organization_id, "shared_secret": own, "subdomain": "acme"}
    assert world.client.post("/installed", json=claim).status_code == 200
    assert world.client.post("/uninstalled", json=claim).status_code == 200
    after = world.stored()
    assert (after.state, after.shared_secret) == (before.state, before.shared_secret)
    forged = webhook_token(own, world.organization_id)
    assert world.deliver(forged).status_code == 401
    assert world.deliver(world.platform.webhook_token("acme")).status_code == 200


def test_fault_05_a_reinstall_with_a_rotated_secret_works(make_world: Callable[..., World]) -> None:
    world = make_world()
    before = world.stored().shared_secret
    world.install()
    assert world.stored().shared_secret != before
    assert world.deliver(world.platform.webhook_token("acme")).status_code == 200
    assert world.get("/users", world.platform.user_token("acme")).status_code == 200


def test_fault_06_an_expired_app_token_is_renewed_and_the_call_sent_again(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    expired = {"error_code": "TOKEN_EXPIRED"}
    world.platform.faults.set(USERS_PATH, status=401, body=expired, times=1)
    answer = world.orbro.client_for(world.organization_id, app=world.app).get(USERS_PATH)
    assert (answer.status_code, world.asked(USERS_PATH)) == (200, 2)


def test_fault_06_a_kept_app_token_ends_before_its_life(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [time.time()]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    world = make_world(ORBRO_TOKEN_LIFETIME=600, ORBRO_TOKEN_LEEWAY=60, ORBRO_BINDING_TTL=86400)
    client = world.orbro.client_for(world.organization_id, app=world.app)
    for seconds in (0, 530, 20):
        clock[0] += seconds
        client.get(USERS_PATH)
    first, second, third = (token for path, token in world.seen if path == USERS_PATH)
    assert first == second != third


def test_fault_06_a_transport_error_is_an_error(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.platform.faults.set(USERS_PATH, drop=True)
    with pytest.raises(PlatformUnavailable):
        world.orbro.client_for(world.organization_id, app=world.app).get(USERS_PATH)


def test_fault_07_two_apps_in_one_process_share_nothing(make_world: Callable[..., World]) -> None:
    one, other = make_world(), make_world(install=False, ORBRO_CLIENT_ID="another-client")
    token = one.platform.user_token("acme")
    assert (one.get("/user", token).status_code, other.get("/user", token).status_code) == (200, 401)
    assert get_state(one.app).config.client_id != get_state(other.app).config.client_id
    assert other.stored() is None


def test_fault_07_concurrent_requests_never_see_each_other(make_world: Callable[..., World]) -> None:
    names = ["acme", "other"] * 8
    barrier = Barrier(len(names))

    def who_once_all_are_let_in() -> Any:
        barrier.wait(10)
        return who()

    world = make_world(views={"/wait": (user_required, who_once_all_are_let_in)})
    world.install("other")
    tokens = [world.platform.user_token(name) for name in names]

    def ask(name: str, token: str) -> Any:
        return world.get("/wait", token, origin=world.origin(name)).json

    with ThreadPoolExecutor(len(names)) as pool:
        answers = list(pool.map(ask, names, tokens))
    assert [answer["email"] for answer in answers] == [f"admin@{name}.example" for name in names]
    ids = [world.platform.organization(name).id for name in names]
    assert [answer["organization"] for answer in answers] == ids


def test_fault_08_connections_and_verdicts_are_kept(
    make_world: Callable[..., World], simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections: list[Any] = []
    server: Any = simulator._server
    accept = server.process_request
    monkeypatch.setattr(server, "process_request", lambda *a: (connections.append(a), accept(*a)))
    world = make_world()
    token = world.platform.user_token("acme")
    for _ in range(10):
        assert world.get("/users", token).status_code == 200
    assert (world.asked(USER_PATH), world.asked(USERS_PATH)) == (1, 10)
    assert len(connections) == 1


class _Everything(logging.Handler):
    """All that any logger has to say, formatted as a log file would."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{self.format(record)} {vars(record)}")


def test_fault_09_no_credential_is_ever_logged(make_world: Callable[..., World]) -> None:
    handler = _Everything()
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        world = make_world()
        tokens = [world.platform.user_token("acme"), world.platform.connect_token("acme")]
        tokens += [world.platform.webhook_token("acme"), "opaque-token-of-nobody-0123456789"]
        for token in tokens:
            for path in ("/user", "/connect", "/open", "/users"):
                world.get(path, token)
            world.deliver(token)
        # Answers that repeat the credential: the client shows their headers at DEBUG.
        echo = {"X-Echo": f"Bearer {tokens[0]}", "Authorization": f"Bearer {tokens[3]}"}
        world.platform.faults.set(USERS_PATH, status=401, headers=echo, times=1)
        world.get("/users", tokens[0])
        world.platform.faults.set("/api/v1/", drop=True)
        world.get("/users", tokens[0])
        world.client.post(
            "/installed", data=f'{{"shared_secret": "{"q" * 40}"', content_type="application/json"
        )
        secrets = [*tokens, "q" * 40, CLIENT_SECRET, world.stored().shared_secret]
        secrets += [token.partition(" ")[2] for _, token in world.seen]
        refused = {"shared_secret": "z" * 40, "organization_id": "o", "subdomain": "acme"}
        assert world.client.post("/installed", json=refused).status_code == 200
        secrets.append("z" * 40)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    logged = "\n".join(handler.lines)
    assert any(line.startswith("httpcore2") for line in handler.lines), "DEBUG of the client is looked at"
    assert [secret for secret in secrets if secret and secret in logged] == []


def test_fault_10_naming_an_organization_is_not_acting_as_it(make_world: Callable[..., World]) -> None:
    world = make_world()
    with (
        world.app.test_request_context("/", query_string={"origin": world.origin()}, headers={"sub": "acme"}),
        pytest.raises(NoCallerError, match="client_for"),
    ):
        _ = world.orbro.client
    assert world.get("/users", None).status_code == 401
    assert world.asked(USERS_PATH) == 0
