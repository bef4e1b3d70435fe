"""The transitions of an installation: one by one, and what no sequence of them can do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from flask_orbro.installation import (
    UNINSTALL_MEMORY,
    Claim,
    Organization,
    State,
    add,
    claim_asked,
    erase,
    judge,
    matches,
    prove,
    request_uninstall,
)
from flask_orbro.schedule import ASK_AGAIN, ask_gap
from flask_orbro.verdicts import Outcome

NOW, GRACE, WINDOW = 1_800_000_000.0, 3600.0, 60.0
CLAIM = Claim("o1", "secret-1", "digest", "u1", "acme", NOW)
ACTIVE = prove(None, CLAIM, now=NOW, window=WINDOW)
UNDECIDED = (Outcome.FAULT, Outcome.RATE_LIMITED, Outcome.EXPIRED)


def judged(organization: Organization, outcome: Outcome, now: float = NOW) -> Organization:
    return judge(organization, outcome, now=now, grace=GRACE)


def suspended() -> Organization:
    return judged(request_uninstall(ACTIVE, NOW), Outcome.REFUSED)


def test_a_proven_claim_makes_an_active_bound_organization() -> None:
    assert (
        Organization(
            "o1", State.ACTIVE, "secret-1", "acme", "acme", "u1", proven_at=NOW, binding_proven_at=NOW
        )
        == ACTIVE
    )
    assert ACTIVE.is_active


def test_a_rotated_secret_stays_good_for_webhooks_for_the_window_only() -> None:
    rotated = prove(ACTIVE, replace(CLAIM, shared_secret="secret-2"), now=NOW + 5, window=WINDOW)
    assert rotated.webhook_secrets(NOW + 64) == ("secret-2", "secret-1")
    assert rotated.webhook_secrets(NOW + 65) == ("secret-2",)


def test_a_rotated_secret_is_erased_when_its_window_has_ended() -> None:
    rotated = prove(ACTIVE, replace(CLAIM, shared_secret="secret-2"), now=NOW, window=WINDOW)
    assert rotated.ask_at == NOW + WINDOW
    for outcome in Outcome:
        assert judged(rotated, outcome, NOW + WINDOW - 1).previous_secret == "secret-1"
        after = judged(rotated, outcome, NOW + WINDOW)
        assert (after.shared_secret, after.previous_secret) == ("secret-2", None)


def test_proving_the_same_secret_again_keeps_the_previous_one_for_no_longer() -> None:
    rotated = prove(ACTIVE, replace(CLAIM, shared_secret="secret-2"), now=NOW, window=WINDOW)
    again = prove(rotated, replace(CLAIM, shared_secret="secret-2"), now=NOW + 30, window=WINDOW)
    assert again.webhook_secrets(NOW + 59) == ("secret-2", "secret-1")
    assert again.webhook_secrets(NOW + 60) == ("secret-2",)


def test_the_secret_from_before_an_uninstall_is_good_for_nothing_afterwards() -> None:
    for before in (suspended(), judged(suspended(), Outcome.REFUSED, NOW + GRACE)):
        again = prove(before, replace(CLAIM, shared_secret="secret-2"), now=NOW + GRACE, window=WINDOW)
        assert again.webhook_secrets(NOW + GRACE) == ("secret-2",)


def test_a_claim_that_names_no_subdomain_and_no_user_keeps_the_proven_ones() -> None:
    claim = replace(CLAIM, shared_secret="secret-2", subdomain=None, user_id=None)
    after = prove(ACTIVE, claim, now=NOW, window=WINDOW)
    assert (after.bound_subdomain, after.installed_user_id) == ("acme", "u1")


def test_a_remembered_uninstall_dies_with_the_next_proven_install() -> None:
    for before in (request_uninstall(ACTIVE, NOW), suspended()):
        after = prove(before, CLAIM, now=NOW + 1, window=WINDOW)
        assert (after.state, after.uninstall_requested_at, after.refused_at) == (State.ACTIVE, None, None)
        assert judged(after, Outcome.REFUSED, NOW + 2 * GRACE).state is State.ACTIVE


def test_asking_for_an_uninstall_changes_nothing_but_that_it_is_asked_about() -> None:
    after = request_uninstall(ACTIVE, NOW + 1)
    assert after == replace(ACTIVE, uninstall_requested_at=NOW + 1, ask_at=NOW + 1)


@pytest.mark.parametrize("state", [State.SUSPENDED, State.UNINSTALLED])
def test_one_that_is_suspended_or_gone_cannot_be_asked_to_go(state: State) -> None:
    before = replace(ACTIVE, state=state)
    assert request_uninstall(before, NOW) is before


def test_a_refusal_that_nobody_asked_for_unbinds_and_erases_nothing() -> None:
    for outcome in (Outcome.REFUSED, Outcome.FOREIGN):
        after = judged(ACTIVE, outcome)
        assert after.bound_subdomain is None
        assert (after.state, after.shared_secret, after.subdomain) == (State.ACTIVE, "secret-1", "acme")
        for later in range(1, 20):
            after = judged(after, outcome, NOW + later * GRACE)
        assert (after.state, after.shared_secret) == (State.ACTIVE, "secret-1")
        assert judged(after, Outcome.ACCEPTED, NOW + 21 * GRACE).bound_subdomain == "acme"


@pytest.mark.parametrize("outcome", UNDECIDED)
def test_an_answer_that_decides_nothing_changes_only_when_it_is_asked_again(outcome: Outcome) -> None:
    for before in (ACTIVE, request_uninstall(ACTIVE, NOW), suspended()):
        after = judged(before, outcome, NOW + GRACE)
        assert after.ask_at is not None
        assert after.ask_at > NOW + GRACE
        assert replace(after, asked=before.asked, ask_at=before.ask_at) == before


def test_a_foreign_answer_takes_the_binding_even_while_an_uninstall_is_remembered() -> None:
    after = judged(request_uninstall(ACTIVE, NOW), Outcome.FOREIGN)
    assert (after.state, after.bound_subdomain, after.shared_secret) == (State.ACTIVE, None, "secret-1")


def test_the_first_refusal_suspends_and_the_second_one_uninstalls_only_after_the_grace() -> None:
    first = suspended()
    assert (first.state, first.bound_subdomain, first.shared_secret) == (State.SUSPENDED, None, "secret-1")
    assert first.webhook_secrets(NOW) == ()
    early = judged(first, Outcome.REFUSED, NOW + GRACE - 1)
    assert (early.state, early.ask_at) == (State.SUSPENDED, NOW + GRACE)
    gone = judged(early, Outcome.REFUSED, NOW + GRACE)
    assert (gone.state, gone.shared_secret, gone.previous_secret) == (State.UNINSTALLED, None, None)
    assert gone.ask_at is None
    assert not gone.is_active


def test_a_suspended_organization_is_asked_about_in_between_so_that_it_can_be_restored() -> None:
    first = suspended()
    assert first.ask_at is not None
    assert first.ask_at < NOW + GRACE
    restored = judged(first, Outcome.ACCEPTED, first.ask_at)
    assert (restored.state, restored.bound_subdomain) == (State.ACTIVE, "acme")
    # The count starts anew: another refusal is the first one again.
    assert judged(restored, Outcome.REFUSED, NOW + 2 * GRACE).state is not State.UNINSTALLED


def test_without_grace_two_refusals_are_needed_still() -> None:
    first = judge(request_uninstall(ACTIVE, NOW), Outcome.REFUSED, now=NOW, grace=0)
    assert first.state is State.SUSPENDED
    assert judge(first, Outcome.REFUSED, now=NOW, grace=0).state is State.UNINSTALLED


def test_while_the_platform_accepts_an_uninstall_is_asked_about_for_an_hour() -> None:
    asked = judged(request_uninstall(ACTIVE, NOW), Outcome.ACCEPTED, NOW + 1)
    assert (asked.state, asked.uninstall_requested_at) == (State.ACTIVE, NOW)
    assert asked.ask_at is not None
    forgotten = judged(asked, Outcome.ACCEPTED, NOW + UNINSTALL_MEMORY)
    assert (forgotten.uninstall_requested_at, forgotten.ask_at) == (None, None)
    assert judged(forgotten, Outcome.REFUSED, NOW + 2 * UNINSTALL_MEMORY).state is State.ACTIVE


def test_nothing_is_judged_of_what_is_gone() -> None:
    before = replace(ACTIVE, state=State.UNINSTALLED)
    for outcome in Outcome:
        assert judged(before, outcome) is before


PENDING = Organization("o1", State.PENDING, "secret-1", "acme", installed_user_id="u1", ask_at=0)


def test_one_that_was_never_proven_is_active_once_the_platform_accepts_it() -> None:
    for outcome in set(Outcome) - {Outcome.ACCEPTED}:
        after = judged(PENDING, outcome)
        assert (after.state, after.bound_subdomain, after.webhook_secrets(NOW)) == (State.PENDING, None, ())
        assert (after.refused_at is None) == (outcome in UNDECIDED)
        accepted = judged(after, Outcome.ACCEPTED, NOW + 5)
        assert (accepted.state, accepted.bound_subdomain) == (State.ACTIVE, "acme")
        assert (accepted.proven_at, accepted.binding_proven_at) == (NOW + 5, NOW + 5)
        assert (accepted.refused_at, accepted.ask_at) == (None, None)


def test_one_that_was_never_proven_is_at_last_asked_about_on_use_alone_and_keeps_its_secret() -> None:
    after = PENDING
    for _ in ASK_AGAIN:
        assert after.ask_at is not None
        after = judged(after, Outcome.REFUSED)
    assert (after.ask_at, after.shared_secret) == (None, "secret-1")


def test_one_that_was_never_proven_goes_when_it_is_refused_twice_after_an_uninstall() -> None:
    refused = judged(PENDING, Outcome.REFUSED)
    asked = request_uninstall(refused, NOW + GRACE)
    assert judged(asked, Outcome.FAULT, NOW + GRACE).state is State.PENDING
    once = judged(asked, Outcome.REFUSED, NOW + GRACE)
    assert (once.state, once.shared_secret) == (State.SUSPENDED, "secret-1")
    twice = judged(once, Outcome.REFUSED, NOW + 2 * GRACE)
    assert (twice.state, twice.shared_secret, twice.uninstalled_at) == (
        State.UNINSTALLED, None, NOW + 2 * GRACE,
    )  # fmt: skip


def test_what_the_app_tells_of_waits_and_changes_nothing_that_was_proven() -> None:
    told = add(None, CLAIM)
    assert (told.state, told.shared_secret, told.ask_at) == (State.PENDING, "secret-1", CLAIM.ask_at)
    assert add(erase(ACTIVE, NOW), CLAIM) == told
    for state in (State.ACTIVE, State.SUSPENDED):
        before = replace(ACTIVE, state=state)
        assert add(before, replace(CLAIM, shared_secret="other")) is before


def test_gaps_grow_and_stay_at_the_last_one() -> None:
    assert [ask_gap(asked) for asked in range(len(ASK_AGAIN) + 3)] == [1, *ASK_AGAIN, 3600, 3600]
    claim = CLAIM
    for asked, outcome in enumerate(Outcome, start=1):
        claim = claim_asked(claim, outcome, NOW)
        assert (claim.asked, claim.ask_at) == (asked, NOW + ask_gap(asked))
    assert claim.refused == 3  # REFUSED, FOREIGN and UNDECIDED
    assert (claim.shared_secret, claim.subdomain, claim.user_id) == ("secret-1", "acme", "u1")


def test_a_claim_matches_only_where_it_says_what_is_proven() -> None:
    assert matches(ACTIVE, CLAIM)
    assert matches(ACTIVE, replace(CLAIM, subdomain=None, user_id=None))
    for other in ({"shared_secret": "x"}, {"subdomain": "x"}, {"user_id": "x"}):
        assert not matches(ACTIVE, replace(CLAIM, **other))
    unproven = (
        None,
        request_uninstall(ACTIVE, NOW),
        suspended(),
        judged(ACTIVE, Outcome.REFUSED),
        judged(suspended(), Outcome.REFUSED, NOW + GRACE),
    )
    for organization in unproven:
        assert not matches(organization, CLAIM)


def test_a_claim_without_a_subdomain_matches_no_organization_whose_own_is_not_proven() -> None:
    unbound = replace(ACTIVE, bound_subdomain=None)
    assert not matches(unbound, replace(CLAIM, subdomain=None))
    assert matches(replace(unbound, bound_subdomain="acme"), replace(CLAIM, subdomain=None))


def test_no_secret_shows_in_a_repr() -> None:
    rotated = prove(ACTIVE, replace(CLAIM, shared_secret="secret-2"), now=NOW, window=WINDOW)
    assert "secret-" not in f"{rotated!r} {CLAIM!r} {rotated.info!r}"


class Life(RuleBasedStateMachine):
    """Any sequence of claims, calls and answers."""

    @initialize()
    def install(self) -> None:
        self.now = NOW
        self.organization = ACTIVE
        self.first_refusal: float | None = None

    @rule(seconds=st.sampled_from([0.5, 10, 1800, 3600, 7200]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def uninstall_is_asked_for(self) -> None:
        before, self.organization = self.organization, request_uninstall(self.organization, self.now)
        ignored = {"uninstall_requested_at": None, "asked": 0, "ask_at": None}
        assert replace(self.organization, **ignored) == replace(before, **ignored)

    @rule(secret=st.sampled_from(["secret-1", "secret-2"]), subdomain=st.sampled_from([None, "acme", "b"]))
    def claim_is_proven(self, secret: str, subdomain: str | None) -> None:
        claim = replace(CLAIM, shared_secret=secret, subdomain=subdomain)
        self.organization = prove(self.organization, claim, now=self.now, window=WINDOW)
        self.first_refusal = None
        assert self.organization.is_active
        assert self.organization.uninstall_requested_at is None

    @rule(outcome=st.sampled_from(Outcome))
    def platform_answers(self, outcome: Outcome) -> None:
        before = self.organization
        after = self.organization = judge(before, outcome, now=self.now, grace=GRACE)
        for name in ("subdomain", "installed_user_id", "proven_at", "enabled"):
            assert getattr(after, name) == getattr(before, name)
        if after.shared_secret != before.shared_secret:
            assert after.shared_secret is None
            assert before.state is State.SUSPENDED
            assert outcome is Outcome.REFUSED
            assert self.first_refusal is not None
            assert self.now >= self.first_refusal + GRACE
        if before.state in (State.ACTIVE, State.SUSPENDED):
            if outcome is Outcome.ACCEPTED:
                assert after.is_active
                assert after.bound_subdomain == after.subdomain
                self.first_refusal = None
            elif outcome is Outcome.REFUSED and before.uninstall_requested_at and self.first_refusal is None:
                self.first_refusal = self.now

    @invariant()
    def what_is_bound_is_proven(self) -> None:
        organization = self.organization
        if organization.bound_subdomain is not None:
            assert organization.is_active
            assert organization.bound_subdomain == organization.subdomain
        assert (organization.shared_secret is None) == (organization.state is State.UNINSTALLED)
        assert (organization.state is State.SUSPENDED) <= (organization.refused_at is not None)

    @invariant()
    def only_active_ones_have_webhook_secrets(self) -> None:
        secrets = self.organization.webhook_secrets(self.now)
        assert bool(secrets) == (self.organization.state is State.ACTIVE)
        assert None not in secrets

    @invariant()
    def a_remembered_uninstall_is_asked_about(self) -> None:
        if self.organization.state in (State.ACTIVE, State.SUSPENDED):
            waits = self.organization.uninstall_requested_at is not None
            assert not waits or self.organization.ask_at is not None


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
