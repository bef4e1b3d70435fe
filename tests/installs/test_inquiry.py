"""When the platform is asked: not more often because somebody repeats himself, and never in vain."""

from __future__ import annotations

import logging

import pytest

from flask_orbro.errors import ServiceUnavailable
from flask_orbro.installation import Organization, State, judge, request_uninstall
from flask_orbro.protocol import CONNECT_PATH
from flask_orbro.schedule import NEEDED_GAP, may_ask
from flask_orbro.verdicts import Outcome

from ..lifecycle_world import MakeWorld, World, make_world_fixture, world_fixture  # noqa: F401


def test_what_is_needed_is_asked_about_twice_at_once_and_then_every_few_seconds() -> None:
    assert may_ask(0, 100, now=1)
    assert may_ask(1, 101, now=100)
    assert not may_ask(2, 102, now=101)
    assert may_ask(2, 102, now=102)
    # The gap of a schedule that has grown to an hour is not waited for.
    assert not may_ask(10, 3700, now=100 + NEEDED_GAP - 1)
    assert may_ask(10, 3700, now=100 + NEEDED_GAP)


def test_a_repeated_install_is_not_one_more_question_each_time(world: World) -> None:
    for _ in range(10):
        assert world.forge().status_code == 200
    assert world.platform.counts[CONNECT_PATH] == 2
    world.clock.ahead += NEEDED_GAP
    assert world.forge().status_code == 200
    assert world.platform.counts[CONNECT_PATH] == 3


def test_a_repeated_uninstall_is_not_one_more_question_each_time(world: World) -> None:
    world.install()
    asked = world.platform.counts[CONNECT_PATH]
    for _ in range(10):
        assert world.post("/uninstalled", organization_id=world.organization_id).status_code == 200
    assert world.platform.counts[CONNECT_PATH] <= asked + 2
    world.platform.uninstall(world.url, "acme")
    world.sweep(after=NEEDED_GAP)
    assert world.stored is not None
    assert world.stored.state is State.SUSPENDED


def test_a_flood_of_uninstalls_is_not_as_many_changes() -> None:
    asked = request_uninstall(Organization("o1", State.ACTIVE, "s" * 40, "acme"), 100)
    for _ in range(2):
        asked = judge(asked, Outcome.ACCEPTED, now=100, grace=3600)
    assert request_uninstall(asked, 101) is asked
    # What is remembered is never much older than the last request.
    later = request_uninstall(asked, 100 + NEEDED_GAP)
    assert (later.uninstall_requested_at, later.ask_at) == (100 + NEEDED_GAP, 100 + NEEDED_GAP)


def approved(world: World) -> None:
    """An organization that an operator answers for, while the platform refuses its secret."""
    world.install(send_subdomain=False)
    world.platform.faults.set(CONNECT_PATH, status=401, body={"error_code": "INVALID"})
    (claim,) = world.state.claims.of_organization(world.organization_id)
    world.state.lifecycle.approve(claim, subdomain="acme")


def test_the_platform_is_not_asked_about_what_an_operator_has_approved(world: World) -> None:
    approved(world)
    asked = world.platform.counts[CONNECT_PATH]
    world.clock.ahead += world.state.config.binding_ttl + 1
    assert (world.me(), world.webhook()) == (200, 200)
    world.post("/uninstalled", organization_id=world.organization_id)
    world.sweep(after=10)
    assert (world.me(), world.platform.counts[CONNECT_PATH]) == (200, asked)
    assert world.state.lifecycle.remove(world.organization_id).approved is False  # type: ignore[union-attr]


def test_a_proven_install_ends_an_operators_approval(world: World) -> None:
    approved(world)
    world.platform.faults.clear()
    world.install()
    assert world.stored is not None
    assert (world.stored.approved, world.stored.state) == (False, State.ACTIVE)


def test_the_previous_secret_of_an_approved_organization_goes_when_its_window_ends(world: World) -> None:
    world.install()
    world.forge(shared_secret="n" * 40)
    (claim,) = world.state.claims.of_organization(world.organization_id)
    world.state.lifecycle.approve(claim)
    assert world.stored.previous_secret is not None  # type: ignore[union-attr]
    world.sweep(after=world.state.config.previous_secret_window + 1)
    assert (world.stored.previous_secret, world.stored.ask_at) == (None, None)  # type: ignore[union-attr]


def test_a_binding_that_was_not_proven_for_too_long_counts_no_more(world: World) -> None:
    world.install()
    assert world.stored is not None
    world.platform.faults.set(CONNECT_PATH, status=500)
    ttl = world.state.config.binding_ttl
    world.clock.ahead += ttl + 1
    assert world.state.inquiry.bound(world.stored).bound_subdomain == "acme"
    world.clock.ahead += ttl
    with pytest.raises(ServiceUnavailable) as refusal:
        world.state.inquiry.bound(world.stored)
    assert refusal.value.reason == "organization_undecided"
    assert world.me() == 503
    world.platform.faults.clear()
    world.clock.ahead += NEEDED_GAP
    assert world.me() == 200


def test_where_nothing_was_ever_proven_the_log_says_so(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "flask_orbro.installs.inquiry")
    world.sweep()
    assert "none was ever proven" not in caplog.text
    world.forge()
    for _ in range(3):
        world.sweep(after=10)
    assert caplog.text.count("1 installs wait and none was ever proven") == 1


def test_where_one_was_proven_a_waiting_claim_is_nothing_to_warn_of(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.install()
    world.forge()
    world.sweep(after=10)
    assert "none was ever proven" not in caplog.text


def test_an_uninstall_of_what_an_operator_has_approved_is_ignored(world: World) -> None:
    approved(world)
    before = world.stored
    assert world.post("/uninstalled", organization_id=world.organization_id).status_code == 200
    world.sweep(after=2 * world.state.config.uninstall_grace)
    assert world.stored == before
    assert world.me() == 200


def test_a_proof_that_another_install_overtook_leaves_its_claim_waiting(world: World) -> None:
    world.install()
    world.forge()
    (claim,) = world.state.claims.of_organization(world.organization_id)
    before = world.stored
    assert not world.state.inquiry.install(claim, None)
    assert (world.stored, world.waiting) == (before, 1)


def test_one_that_is_not_bound_is_not_asked_about_each_time_it_is_needed(world: World) -> None:
    world.install()
    world.platform.faults.set(CONNECT_PATH, status=401, body={"error_code": "INVALID"})
    world.clock.ahead += world.state.config.binding_ttl + 1
    asked = world.platform.counts[CONNECT_PATH]
    for _ in range(10):
        assert world.stored is not None
        assert world.state.inquiry.bound(world.stored).bound_subdomain is None
    assert world.platform.counts[CONNECT_PATH] == asked + 2
