"""Deliveries over HTTP: which secret counts when, and what a delivery is known by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from sqlalchemy import NullPool, create_engine
from sqlalchemy.orm import sessionmaker

from flask_orbro import OrbroConnect, current_delivery, webhook_required
from flask_orbro.schedule import NEEDED_GAP
from flask_orbro.state import get_state

from ..world import World, is_problem, webhook_token

EVENT = "device:device_updated"
both_modes = pytest.mark.parametrize("testing", [True, False], ids=["testing", "production"])


def secret_of(world: World) -> str:
    row = world.stored()
    assert row is not None
    assert row.shared_secret is not None
    return row.shared_secret


@both_modes
def test_a_delivery_of_an_install_that_waits_proves_it(
    make_world: Callable[..., World], testing: bool
) -> None:
    # The platform accepts the secret only once the app has answered.
    world = make_world(install=False, TESTING=testing)
    world.install(activate="after")
    assert world.everything() == ([], 1)
    assert world.platform.webhook("acme", EVENT).status == 200
    organizations, claims = world.everything()
    assert [row.organization_id for row in organizations] == [world.organization_id]
    assert claims == 0


@both_modes
@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"drop": True}, {"status": 429}, {"status": 401, "body": "<p>"}]
)
def test_a_delivery_that_cannot_be_decided_is_asked_for_again(
    make_world: Callable[..., World],
    fault: dict[str, Any],
    testing: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = make_world(install=False, TESTING=testing)
    world.install(activate="after")
    world.platform.faults.set("/api/v1/connect-auth", **fault)
    answer = world.deliver(world.platform.webhook_token("acme"))
    assert is_problem(answer, 503)["code"] == "organization_undecided"
    assert int(answer.headers["Retry-After"]) > 0
    world.platform.faults.clear()
    # A fault is not asked about again at once, and not held against the claim either.
    again = world.deliver(world.platform.webhook_token("acme"))
    assert is_problem(again, 503)["code"] == "organization_undecided"
    monkeypatch.setattr(get_state(world.app).inquiry, "_clock", lambda: time.time() + NEEDED_GAP)
    assert world.deliver(world.platform.webhook_token("acme")).status_code == 200


def test_a_delivery_with_a_rotated_secret_that_waits_proves_it(make_world: Callable[..., World]) -> None:
    world = make_world()
    old = secret_of(world)
    world.install(activate="after")
    assert secret_of(world) == old
    assert world.platform.webhook("acme", EVENT).status == 200
    assert secret_of(world) != old


def test_the_previous_secret_is_good_for_its_window_and_no_longer(
    make_world: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.time()]
    monkeypatch.setattr(time, "time", lambda: now[0])
    world = make_world(ORBRO_PREVIOUS_SECRET_WINDOW=600)
    old = secret_of(world)
    world.install()
    for passed, status in ((0, 200), (599, 200), (1, 401)):
        now[0] += passed
        assert world.deliver(webhook_token(old, world.organization_id)).status_code == status
        assert world.deliver(webhook_token(secret_of(world), world.organization_id)).status_code == 200


def test_the_secret_before_the_previous_one_is_gone(make_world: Callable[..., World]) -> None:
    world = make_world()
    first = secret_of(world)
    world.install()
    world.install()
    is_problem(world.deliver(webhook_token(first, world.organization_id)), 401)


def two_processes(make_world: Callable[..., World], tmp_path: Path, **config: Any) -> Iterator[World]:
    """Two apps on one database, each of which keeps what it has read."""
    # Without a pool there is nothing to give back at the end.
    engine = create_engine(f"sqlite:///{tmp_path}/shared.sqlite", poolclass=NullPool)
    for _ in range(2):
        orbro = OrbroConnect(db_session_maker=sessionmaker(engine))
        yield make_world(orbro=orbro, install=False, ORBRO_ORGANIZATION_TTL=60, **config)


@both_modes
def test_a_secret_that_another_process_has_changed_is_good_at_once(
    make_world: Callable[..., World], tmp_path: Path, testing: bool
) -> None:
    here, there = two_processes(make_world, tmp_path, TESTING=testing)
    there.install()
    old = there.platform.webhook_token("acme")
    assert here.deliver(old).status_code == 200  # from now on it knows the organization
    there.install()
    new = there.platform.webhook_token("acme")
    questions = len(here.seen)
    assert new != old
    assert here.deliver(new).status_code == 200
    assert len(here.seen) == questions, "the platform was asked about what the database tells"


def test_a_secret_that_another_process_has_changed_is_good_no_longer_than_its_window(
    make_world: Callable[..., World], tmp_path: Path
) -> None:
    here, there = two_processes(make_world, tmp_path, ORBRO_PREVIOUS_SECRET_WINDOW=1)
    there.install()
    old = there.platform.webhook_token("acme")
    assert here.deliver(old).status_code == 200
    there.install()
    time.sleep(1.1)
    is_problem(here.deliver(old), 401)


def test_an_uninstalled_organizations_deliveries_are_refused(make_world: Callable[..., World]) -> None:
    world = make_world()
    token = world.platform.webhook_token("acme")
    assert world.deliver(token).status_code == 200
    world.platform.uninstall(world.url, "acme")
    is_problem(world.deliver(token), 401)


def test_a_token_of_the_older_form_names_its_user(make_world: Callable[..., World]) -> None:
    def told() -> Any:
        return {"organization": current_delivery.organization_id, "user": current_delivery.user_id}

    world = make_world(views={"/webhook/who": (webhook_required, told)})
    row = world.stored()
    assert row is not None
    for older in (True, False):
        outcome = world.platform.webhook("acme", EVENT, path="/webhook/who", older_sub=older)
        assert outcome.body == {"organization": world.organization_id, "user": row.installed_user_id}


def test_a_token_of_the_older_form_is_refused_where_two_organizations_have_that_user(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    row = world.stored()
    assert row is not None
    token = world.platform.webhook_token("acme", older_sub=True)
    assert world.deliver(token).status_code == 200
    # The same person installs it elsewhere.
    world.platform.faults.set(
        "/api/v1/connect-auth",
        organization="other",
        status=200,
        body={"id": "i", "uuid": "u", "organization_id": "other", "role": "", "status": "", "scope": ""},
    )
    claim = {"organization_id": "other", "shared_secret": "o" * 40, "subdomain": "other"}
    assert world.client.post("/installed", json=claim | {"user_id": row.installed_user_id}).status_code == 200
    assert get_state(world.app).organizations.bound_to("other") is not None
    is_problem(world.deliver(token), 401)
    assert world.deliver(world.platform.webhook_token("acme")).status_code == 200


def test_disabled_stops_deliveries_only_where_it_is_trusted(make_world: Callable[..., World]) -> None:
    world = make_world(ORBRO_TRUST_ENABLED_DISABLED=True)
    assert world.platform.disable(world.url, "acme").ok
    assert (
        is_problem(world.deliver(world.platform.webhook_token("acme")), 403)["code"]
        == "organization_disabled"
    )
    assert world.platform.enable(world.url, "acme").ok
    assert world.deliver(world.platform.webhook_token("acme")).status_code == 200


def test_a_delivery_asks_the_platform_nothing(make_world: Callable[..., World]) -> None:
    world = make_world()
    questions = len(world.seen)
    for _ in range(3):
        assert world.platform.webhook("acme", EVENT).status == 200
    world.platform.faults.set("", drop=True)
    assert world.platform.webhook("acme", EVENT).status == 200
    assert len(world.seen) == questions


@pytest.mark.parametrize(
    ("configured", "claims", "status"),
    [
        ({}, {"exp": lambda: time.time() + 7200}, 401),
        ({"ORBRO_WEBHOOK_MAX_LIFE": 10_000}, {"exp": lambda: time.time() + 7200}, 200),
        ({}, {"exp": None}, 401),
        ({"ORBRO_WEBHOOK_REQUIRE_EXP": False}, {"exp": None}, 200),
        ({"ORBRO_WEBHOOK_REQUIRE_EXP": False}, {"exp": 1}, 401),
        ({"ORBRO_WEBHOOK_LEEWAY": 0}, {"exp": lambda: time.time() - 1}, 401),
        ({"ORBRO_WEBHOOK_LEEWAY": 300}, {"exp": lambda: time.time() - 1}, 200),
    ],
)
def test_the_settings_bound_a_tokens_times(
    make_world: Callable[..., World], configured: dict[str, Any], claims: dict[str, Any], status: int
) -> None:
    world = make_world(**configured)
    assert (
        world.deliver(webhook_token(secret_of(world), world.organization_id, **claims)).status_code == status
    )


def test_a_token_of_the_app_itself_is_no_webhook(make_world: Callable[..., World]) -> None:
    # It is signed with the very same secret.
    world = make_world()
    claims = {
        "iss": "x",
        "issued_by": "meta-platform-connect",
        "sub": f"organizationId:{world.organization_id}",
        "exp": int(time.time()) + 60,
    }
    is_problem(world.deliver(jwt.encode(claims, secret_of(world))), 401)
