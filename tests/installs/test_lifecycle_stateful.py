"""Any interleaving of genuine and forged calls, answers and times, against a model of what is true.

What must hold, whatever happens:

1. a forged call never changes whose secret, subdomain or user is trusted;
2. a genuine install wins whenever the platform accepts it at the moment it is asked;
3. an uninstall remembered before a proven install never removes it;
4. one wrong refusal never erases anything;
5. no organization's user is ever let into another organization.

``ORBRO_TEST_LONG=1`` runs thousands of examples.
"""

from __future__ import annotations

import os
from collections import defaultdict
from functools import partial
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from flask_orbro.installation import Organization, State

from .stateful_world import BROKEN, DOWN, REFUSING, WELL, Asked, Clock, Household, Platform, Truth

EXAMPLES = 2000 if os.environ.get("ORBRO_TEST_LONG") else 60
# Whoever only wants to know that it fails need not wait for the shortest way to it.
PHASES = [Phase.generate] if os.environ.get("ORBRO_TEST_UNSHRUNK") else list(Phase)
FORGED = [f"forged-{number}".ljust(40, "x") for number in range(2)]
ORGANIZATIONS = st.sampled_from([0, 1, 2])
SUBDOMAINS = st.sampled_from([None, "acme", "beta", "evil", "nobody"])


class Life(RuleBasedStateMachine):
    """Two organizations and a third, ``evil``, whose people know its genuine secret and forge calls."""

    @initialize(installed=st.sets(ORGANIZATIONS))
    def begin(self, installed: set[int]) -> None:
        self.clock = Clock()
        names = ("acme", "beta", "evil")
        self.truths = [Truth(f"id-of-{name}", name, f"user-of-{name}") for name in names]
        self.platform = Platform(self.clock, self.truths)
        self.house = Household(self.clock, self.platform)
        self.issued: dict[str, list[str]] = defaultdict(list)
        self.homes = {truth.id: {truth.subdomain} for truth in self.truths}
        #: The last genuine call of each organization: what it said.
        self.sent: dict[str, tuple[str, str | None]] = {}
        #: How long the log was when the platform last changed something about an organization.
        self.changed: dict[str, int] = defaultdict(int)
        self.seen: dict[str, Organization] = {}
        #: When a trusted secret was replaced.
        self.replaced: dict[tuple[str, str], float] = {}
        for which in sorted(installed):
            self.genuine_install(which, after=False, subdomain=True, user=True)

    # What the platform does.

    @rule(which=ORGANIZATIONS, after=st.booleans(), subdomain=st.booleans(), user=st.booleans())
    def genuine_install(self, which: int, after: bool, subdomain: bool, user: bool) -> None:
        truth = self.truths[which]
        secret = f"genuine-{which}-{len(self.issued[truth.id])}".ljust(40, "-")
        self.issued[truth.id].append(secret)
        if not after:
            self._change(truth, secret)
        named = truth.subdomain if subdomain else None
        self.sent[truth.id] = (secret, named)
        self.house.installed(truth.id, secret, named, truth.user if user else None)
        if after:
            self._change(truth, secret)

    @rule(which=ORGANIZATIONS)
    def genuine_uninstall(self, which: int) -> None:
        truth = self.truths[which]
        self._change(truth, None)
        self.sent.pop(truth.id, None)
        self.house.uninstalled(truth.id)

    @rule()
    def two_organizations_change_places(self) -> None:
        one, other = self.truths[:2]
        one.subdomain, other.subdomain = other.subdomain, one.subdomain
        for truth in (one, other):
            self.homes[truth.id].add(truth.subdomain)
            self._change(truth, truth.secret)
        # A binding is proven again only every ``ORBRO_BINDING_TTL``.
        self.clock.now += 2 * self.house.config.binding_ttl

    @rule(mood=st.sampled_from([WELL, WELL, DOWN, BROKEN, REFUSING]))
    def platform_is(self, mood: str) -> None:
        self.platform.mood = mood

    # What somebody else does.

    def _secret(self, number: int) -> str:
        """One that was made up, or the genuine one of ``evil``, whose people know it."""
        return (self.truths[2].secret or FORGED[0]) if number == 2 else FORGED[number]

    @rule(which=ORGANIZATIONS, secret=ORGANIZATIONS, subdomain=SUBDOMAINS, user=st.booleans())
    def forged_install(self, which: int, secret: int, subdomain: str | None, user: bool) -> None:
        user_id = "attacker" if user else None
        self.house.installed(self.truths[which].id, self._secret(secret), subdomain, user_id)

    @rule(which=st.sampled_from([0, 1]))
    def evil_claims_another_organization(self, which: int) -> None:
        """With a secret and a subdomain that the platform accepts: its own."""
        self.house.installed(self.truths[which].id, self._secret(2), "evil", None)

    @rule(which=ORGANIZATIONS, number=st.integers(0, 3), subdomain=SUBDOMAINS)
    def replayed_install(self, which: int, number: int, subdomain: str | None) -> None:
        """Somebody has kept a genuine call; one whose secret counts still is as good as genuine."""
        truth = self.truths[which]
        old = [secret for secret in self.issued[truth.id] if secret != truth.secret]
        if old:
            self.house.installed(truth.id, old[number % len(old)], subdomain, "attacker")

    @rule(which=ORGANIZATIONS)
    def forged_uninstall(self, which: int) -> None:
        self.house.uninstalled(self.truths[which].id)

    # What happens besides.

    @rule(seconds=st.sampled_from([-30, 1, 3, 10, 61, 1800, 3601, 7200]))
    def clock_steps(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def sweep(self) -> None:
        self.house.inquiry.sweep()

    @rule(which=ORGANIZATIONS)
    def platform_recovers_and_installs_again(self, which: int) -> None:
        """A genuine call that is sent once more: nobody has rotated anything."""
        truth = self.truths[which]
        self.platform.mood = WELL
        self.clock.now += 1
        if truth.secret is not None:
            self.house.installed(truth.id, truth.secret, truth.subdomain, truth.user)
            self.sent[truth.id] = (truth.secret, truth.subdomain)

    @rule(
        which=ORGANIZATIONS,
        first=st.sampled_from(["install", "uninstall", "sweep"]),
        then=st.sampled_from(["install", "go", "claim", "uninstall", "recover"]),
        wrongly=st.booleans(),
    )
    def something_happens_while_the_platform_is_asked(
        self, which: int, first: str, then: str, wrongly: bool
    ) -> None:
        """:param wrongly: the platform refuses what it is asked, though it should not."""
        actions = {
            "install": partial(self.genuine_install, which, after=False, subdomain=True, user=True),
            "go": partial(self.genuine_uninstall, which),
            "claim": partial(self.forged_install, which, secret=2, subdomain="evil", user=True),
            "uninstall": partial(self.forged_uninstall, which),
            "recover": partial(self.platform_recovers_and_installs_again, which),
            "sweep": self.sweep,
        }
        if wrongly:
            self.platform.mood = REFUSING
        self.platform.meanwhile = actions[then]
        actions[first]()
        self.platform.meanwhile = None

    @rule(which=ORGANIZATIONS, number=st.integers(0, 4))
    def a_webhook_comes(self, which: int, number: int) -> None:
        truth = self.truths[which]
        secrets = [*reversed(self.issued[truth.id]), *FORGED, *filter(None, [self.truths[2].secret])]
        secret = secrets[number % len(secrets)]
        before = self.house.organizations.get(truth.id)
        taken = self.house.takes_webhook(truth.id, secret)
        if taken:
            assert secret in self.issued[truth.id]
            trusted = self.house.organizations.get(truth.id)
            assert trusted is not None
            assert trusted.is_active
            good_until = self.replaced.get((truth.id, secret), 0) + self.house.config.previous_secret_window
            assert trusted.shared_secret == secret or self.clock() < good_until
        elif before is not None and before.is_active:
            assert before.shared_secret != secret

    @rule(which=ORGANIZATIONS, other=ORGANIZATIONS)
    def a_user_calls(self, which: int, other: int) -> None:
        truth = self.truths[which]
        let_into = self.house.lets_in(truth, self.truths[other].subdomain)
        assert let_into in (None, truth.id)

    @rule()
    def everything_settles(self) -> None:
        """The platform is well, and everything is asked about: what it says is what counts."""
        self.platform.mood = WELL
        for seconds in (1, 60, 3601, 3601):
            self.clock.now += seconds
            self.house.inquiry.sweep()
        for truth in self.truths:
            found = self.house.organizations.get(truth.id)
            if found is not None:
                self._what_is_erased_was_refused_twice_after_an_uninstall(truth, found)
            if truth.secret is None:
                assert truth.id in self.sent or found is None or found.state is not State.SUSPENDED
                assert not self.house.takes_webhook(truth.id, FORGED[0])
                continue
            secret, named = self.sent[truth.id]
            asked_at = named or (found.subdomain if found else None)
            if secret == truth.secret and asked_at == truth.subdomain:
                assert found is not None
                assert (found.is_active, found.shared_secret) == (True, truth.secret)
                assert self.house.takes_webhook(truth.id, secret)
                assert self.house.lets_in(truth, truth.subdomain) == truth.id

    # What must hold.

    @invariant()
    def what_must_hold(self) -> None:
        found = {
            organization.organization_id: organization for organization in self.house.organizations.all()
        }
        for truth in self.truths:
            if truth.id in found:
                self._only_what_the_platform_has_issued_is_trusted(truth, found[truth.id])
                self._what_is_erased_was_refused_twice_after_an_uninstall(truth, found[truth.id])
            self._what_the_platform_has_just_accepted_counts(truth, found.get(truth.id))
        bound = [item.bound_subdomain for item in found.values() if item.bound_subdomain]
        assert len(bound) == len(set(bound))
        self.seen = found

    def _only_what_the_platform_has_issued_is_trusted(self, truth: Truth, found: Organization) -> None:
        if found.is_active:
            assert found.shared_secret in self.issued[truth.id]
            assert found.installed_user_id in (None, truth.user)
            assert found.bound_subdomain in (None, *self.homes[truth.id])
        else:
            assert found.bound_subdomain is None

    def _what_the_platform_has_just_accepted_counts(self, truth: Truth, found: Organization | None) -> None:
        said = self._answers(truth.id, truth.secret, since=self.changed[truth.id])
        if said and said[-1].accepted:
            assert found is not None
            assert (found.is_active, found.shared_secret) == (True, truth.secret)
            assert found.bound_subdomain == truth.subdomain

    def _what_is_erased_was_refused_twice_after_an_uninstall(self, truth: Truth, found: Organization) -> None:
        before = self.seen.get(truth.id)
        if before is None or before.shared_secret is None or found.shared_secret == before.shared_secret:
            return
        if found.state is State.UNINSTALLED:
            self._was_rightly_erased(truth, before.shared_secret)
            if self.sent.get(truth.id, ("",))[0] == before.shared_secret:
                self.sent[truth.id] = ("", None)  # the platform would have to say it anew
        self.replaced[truth.id, before.shared_secret] = self.clock()

    def _was_rightly_erased(self, truth: Truth, secret: str) -> None:
        of_it = [
            asked
            for asked in self.platform.log
            if (asked.organization_id, asked.secret) == (truth.id, secret)
        ]
        accepted = [number for number, asked in enumerate(of_it) if asked.accepted]
        refusals = [asked.at for asked in of_it[accepted[-1] :] if asked.refused]
        assert len(refusals) >= 2
        assert max(refusals) - min(refusals) >= self.house.config.uninstall_grace
        events = [name for name, organization_id in self.house.signals if organization_id == truth.id]
        installed = len(events) - events[::-1].index("app-installed")
        assert "uninstall-asked-for" in events[installed:]

    def _answers(self, organization_id: str, secret: str | None, since: int = 0) -> list[Asked]:
        """What the platform has said, yes or no, about a secret of an organization."""
        return [
            asked
            for asked in self.platform.log[since:]
            if (asked.organization_id, asked.secret) == (organization_id, secret)
            and (asked.accepted or asked.refused)
        ]

    def _change(self, truth: Truth, secret: str | None) -> None:
        truth.secret = secret
        self.changed[truth.id] = len(self.platform.log)


TestLife: Any = Life.TestCase
TestLife.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=15,
    deadline=None,
    phases=PHASES,
    suppress_health_check=[HealthCheck.too_slow],
)
