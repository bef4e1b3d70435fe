"""The fourteen faults of the platform's Python SDK 0.23, continued: faults 11 to 14."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import sessionmaker
from sqlalchemy.pool import QueuePool

from flask_orbro import OrbroConnect
from flask_orbro.state import get_state

from .world import (
    CONNECT_PATH,
    KINDS,
    USER_PATH,
    USERS_PATH,
    World,
    is_problem,
    webhook_token,
)


@pytest.fixture
def small_pool(tmp_path: Path) -> Iterator[Engine]:
    """A database of five connections, and not one more."""
    engine = create_engine(
        f"sqlite:///{tmp_path}/five.sqlite",
        poolclass=QueuePool,
        pool_size=5,
        max_overflow=0,
        pool_timeout=1,
        connect_args={"check_same_thread": False},
    )
    yield engine
    engine.dispose()


def test_fault_11_a_slow_platform_does_not_use_up_the_database(
    make_world: Callable[..., World], small_pool: Engine
) -> None:
    world = make_world(orbro=OrbroConnect(db_session_maker=sessionmaker(small_pool)))
    world.platform.faults.set(USER_PATH, delay=1.5)
    tokens = [world.platform.user_token("acme") for _ in range(32)]
    with ThreadPoolExecutor(32) as pool:
        callers = [pool.submit(world.get, "/user", token) for token in tokens]
        deadline = time.monotonic() + 1
        while len(world.seen) < 33 and time.monotonic() < deadline:
            time.sleep(0.01)
        began = time.monotonic()
        with small_pool.connect() as connection:
            assert connection.scalar(text("select 1")) == 1
        assert world.deliver(world.platform.webhook_token("acme")).status_code == 200
        elapsed = time.monotonic() - began
        assert [caller.result().status_code for caller in callers] == [200] * 32
    assert elapsed < 1


def test_fault_11_no_database_connection_is_held_while_the_platform_is_asked(
    make_world: Callable[..., World], small_pool: Engine
) -> None:
    world = make_world(orbro=OrbroConnect(db_session_maker=sessionmaker(small_pool)), install=False)
    held: list[tuple[str, int]] = []
    world.watch(lambda environ: held.append((environ["PATH_INFO"], small_pool.pool.checkedout())))
    world.install()
    world.get("/users", world.platform.user_token("acme"))
    world.get("/connect", world.platform.connect_token("acme"))
    world.platform.uninstall(world.url, "acme")
    assert {path for path, _ in held} == {USER_PATH, CONNECT_PATH, USERS_PATH}
    assert [path for path, count in held if count] == []


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"exp": lambda: time.time() + 100 * 365 * 86400},
        {"exp": lambda: time.time() - 60},
        {"iat": lambda: time.time() + 600},
    ],
    ids=["no exp", "exp a century away", "expired", "iat in the future"],
)
def test_fault_12_the_times_of_a_webhook_token_are_judged(
    make_world: Callable[..., World], claims: dict[str, Any]
) -> None:
    world = make_world()
    secret = world.stored().shared_secret
    assert world.deliver(webhook_token(secret, world.organization_id)).status_code == 200
    assert world.deliver(webhook_token(secret, world.organization_id, **claims)).status_code == 401


def test_fault_12_the_scheme_bearer_is_not_optional(make_world: Callable[..., World]) -> None:
    world = make_world()
    hook, user = world.platform.webhook_token("acme"), world.platform.user_token("acme")
    for scheme in ("", "bearer", "Token ", "Basic ", "Bearer  ", "Bearer\t", " "):
        assert world.deliver(hook, scheme=scheme).status_code == 401
        assert world.get("/user", headers={"Authorization": scheme + user}).status_code == 401
    assert world.deliver(hook, scheme="Bearer ").status_code == 200


def test_fault_12_a_subdomain_belongs_to_one_organization(make_world: Callable[..., World]) -> None:
    world = make_world()
    organization = world.platform.organization("acme")
    first, organization.id = organization.id, "another-organization-on-the-same-subdomain"
    world.install()
    assert world.stored(organization.id).bound_subdomain == "acme"
    assert world.stored(first).bound_subdomain is None
    assert get_state(world.app).organizations.bound_to("acme").organization_id == organization.id


@pytest.mark.parametrize("testing", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_fault_13_a_refusal_is_no_500_and_an_outage_is_no_401(
    make_world: Callable[..., World], kind: str, testing: bool
) -> None:
    world = make_world(kind=kind, TESTING=testing, ORBRO_OUTAGE_MEMORY=0)
    for fault, status in (
        ({"status": 204}, 503),
        ({"status": 200, "body": "<html>Welcome</html>"}, 503),
        ({"status": 401, "body": "<html>Login</html>"}, 503),
        ({"drop": True}, 503),
        ({"status": 401, "body": {}}, 401),
    ):
        world.platform.faults.set("/api/v1/", **fault)
        is_problem(world.get("/user", world.platform.user_token("acme")), status)
        assert world.get("/unprotected", "whatever").status_code == 200


def test_fault_13_a_hung_platform_is_waited_for_as_long_as_is_configured(
    make_world: Callable[..., World],
) -> None:
    world = make_world(ORBRO_VERDICT_TIMEOUT=0.3)
    world.platform.faults.set(USER_PATH, delay=30)
    began = time.monotonic()
    is_problem(world.get("/user", world.platform.user_token("acme")), 503)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("testing", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_fault_14_flask_is_supported(make_world: Callable[..., World], kind: str, testing: bool) -> None:
    world = make_world(kind=kind, TESTING=testing)
    assert type(world.app) is Flask
    assert world.get("/user", world.platform.user_token("acme")).json["role"] == "HQ"
    assert world.get("/users", world.platform.user_token("acme")).json["data"]
    assert world.platform.webhook("acme", "device:device_updated", {"a": 1}).body["payload"]["data"] == {
        "a": 1
    }
    assert world.platform.uninstall(world.url, "acme").ok
    assert world.get("/user", world.platform.user_token("acme")).status_code == 401
