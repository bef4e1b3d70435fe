"""The guards of trust: what :mod:`tests.guards` takes away, one after the other."""

from __future__ import annotations

from functools import partial

from ..guards import Guard as GuardWithTest

Guard = partial(GuardWithTest, test="tests/installs/test_lifecycle_stateful.py")

GUARDS = [
    Guard(
        "a claim counts only once the platform has accepted it",
        "installs/inquiry.py",
        "            if outcome is not Outcome.ACCEPTED:\n                self._claims.save",
        "            if outcome is Outcome.FAULT:\n                self._claims.save",
    ),
    Guard(
        "an answer about another organization proves nothing",
        "installs/proof.py",
        'verdict.body["organization_id"] != organization_id',
        "False",
    ),
    Guard(
        "a proof that another one overtook does not undo it",
        "installs/inquiry.py",
        "current is not None and current.is_active and _last_proof(current) != _last_proof(seen)",
        "False",
    ),
    Guard(
        "an answer about another secret says nothing about the stored one",
        "installs/inquiry.py",
        "if current is None or current.shared_secret != organization.shared_secret:",
        "if current is None:",
        test="tests/test_client_info.py",
    ),
    Guard(
        "an answer about a moment before a proven install says nothing",
        "installs/inquiry.py",
        "if current.proven_at != organization.proven_at:",
        "if False:",
    ),
    Guard(
        "nobody is uninstalled whose uninstall was not asked for",
        "installation.py",
        "if organization.uninstall_requested_at is None or outcome is not Outcome.REFUSED:",
        "if outcome is not Outcome.REFUSED:",
    ),
    Guard(
        "only a refusal proves an uninstall",
        "installation.py",
        "if organization.uninstall_requested_at is None or outcome is not Outcome.REFUSED:",
        "if organization.uninstall_requested_at is None:",
    ),
    Guard(
        "an uninstall is proven by two refusals",
        "installation.py",
        "if organization.refused_at is None or now < refused_at + grace:",
        "if False:",
    ),
    Guard(
        "the second refusal comes after the grace",
        "installation.py",
        "if organization.refused_at is None or now < refused_at + grace:",
        "if organization.refused_at is None:",
    ),
    Guard(
        "an acceptance in between forgets the refusal",
        "installation.py",
        "        refused_at=None,\n        uninstall_requested_at=requested if remembered else None,",
        "        uninstall_requested_at=requested if remembered else None,",
    ),
    Guard(
        "a proven install forgets the uninstall that was asked for before",
        "installation.py",
        "        uninstall_requested_at=None,\n        refused_at=None,\n        asked=0,",
        "        refused_at=None,\n        asked=0,",
    ),
    Guard(
        "a proven install forgets the refusal before",
        "installation.py",
        "        uninstall_requested_at=None,\n        refused_at=None,\n        asked=0,",
        "        uninstall_requested_at=None,\n        asked=0,",
    ),
    Guard(
        "a refusal ends the binding of the subdomain",
        "installation.py",
        "waiting = replace(waiting, bound_subdomain=None)\n    if organization.state is State.PENDING",
        "pass\n    if organization.state is State.PENDING",
    ),
    Guard(
        "webhooks of one that is suspended are not taken",
        "installation.py",
        "if self.state is not State.ACTIVE or self.shared_secret is None:",
        "if self.shared_secret is None:",
    ),
    Guard(
        "a rotated secret is good for its window alone",
        "installation.py",
        "if self.previous_secret is not None and now < self.previous_secret_until:",
        "if self.previous_secret is not None:",
    ),
    Guard(
        "one that is suspended is not active",
        "installation.py",
        "return self.state is State.ACTIVE and self.shared_secret is not None",
        "return self.shared_secret is not None",
    ),
    Guard(
        "a claim that says something else is not what is known already",
        "installation.py",
        "        and claim.shared_secret == organization.shared_secret\n",
        "",
    ),
    Guard(
        "a known install is asked about again where an uninstall was asked for",
        "installation.py",
        "        and organization.uninstall_requested_at is None\n        and organization.bound",
        "        and organization.bound",
    ),
    Guard(
        "a known install is asked about again where its subdomain is not proven",
        "installation.py",
        "        and organization.bound_subdomain is not None\n",
        "",
    ),
    Guard(
        "a known install is asked about again where it names another subdomain",
        "installation.py",
        "        and claim.subdomain in (None, organization.bound_subdomain)\n",
        "",
    ),
    Guard(
        "a secret that is erased is gone",
        "installation.py",
        "        state=State.UNINSTALLED,\n        shared_secret=None,",
        "        state=State.UNINSTALLED,",
        test="tests/installs/test_lifecycle_uninstall.py",
    ),
    Guard(
        "a proven install takes its subdomain from any other",
        "stores/organizations.py",
        "if after.bound_subdomain is not None:",
        "if False:",
    ),
    Guard(
        "a user is let into the organization of his subdomain alone",
        "authenticator.py",
        "if organization is None or organization.bound_subdomain != subdomain:",
        "if organization is None:",
    ),
    Guard(
        "a binding is proven again on use",
        "installs/inquiry.py",
        "if is_bound and age < self._config.binding_ttl:",
        "if is_bound:",
    ),
    Guard(
        "a binding that cannot be proven again does not count for ever",
        "installs/inquiry.py",
        "unsure = organization.bound_subdomain is not None and age >= 2 * self._config.binding_ttl",
        "unsure = False",
        test="tests/installs/test_inquiry.py",
    ),
    Guard(
        "an uninstall changes nothing before the platform refuses the secret",
        "installation.py",
        "return replace(organization, uninstall_requested_at=now, refused_at=None, asked=0, ask_at=now)",
        "return replace(erase(organization, now), uninstall_requested_at=now)",
    ),
    Guard(
        "a webhook that a claim has signed is not believed for that",
        "webhooks/verify.py",
        "        if outcome is not Outcome.REFUSED:\n            raise",
        "        return self._organizations.get(organization_id)\n        if outcome:\n            raise",
    ),
    Guard(
        "what the old SDK or the app has left is not trusted before it is proven",
        "installation.py",
        "        State.PENDING,\n        shared_secret=claim.shared_secret,",
        "        State.ACTIVE,\n        shared_secret=claim.shared_secret,",
        test="tests/test_client_info.py",
    ),
    Guard(
        "what the app tells of changes nothing that was proven",
        "installation.py",
        "if organization is not None and organization.state in (State.ACTIVE, State.SUSPENDED):",
        "if False:",
        test="tests/test_client_info.py",
    ),
    Guard(
        "the old SDK's subdomain becomes a host only where it is a label",
        "stores/records.py",
        "values[_SUBDOMAIN] = subdomain_label(values[_SUBDOMAIN])",
        "pass",
        test="tests/test_migrations.py",
    ),
    Guard(
        "plain text counts only where nothing is trusted",
        "stores/records.py",
        "plain = state is State.PENDING",
        "plain = True",
        test="tests/stores/test_secrets_at_rest.py",
    ),
    Guard(
        "a secret opens in its own row alone",
        "stores/records.py",
        "return ConnectAppClientInfoMixin.__tablename__, organization_id, column",
        "return ConnectAppClientInfoMixin.__tablename__, column",
        test="tests/stores/test_secrets_at_rest.py",
    ),
    Guard(
        "a secret opens in its own column alone",
        "stores/records.py",
        "return ConnectAppClientInfoMixin.__tablename__, organization_id, column",
        'return ConnectAppClientInfoMixin.__tablename__, organization_id, "any"',
        test="tests/stores/test_secrets_at_rest.py",
    ),
    Guard(
        "claims are bounded for one organization",
        "stores/claims.py",
        "if not self._room(session, own, self._per_organization):",
        "if False:",
        test="tests/stores/test_claims.py",
    ),
    Guard(
        "claims are bounded in all",
        "stores/claims.py",
        "if not self._room(session, None, self._in_all):",
        "if False:",
        test="tests/stores/test_claims.py",
    ),
    Guard(
        "claims are bounded in age",
        "stores/claims.py",
        "self._drop_old(session, claim.received_at)",
        "pass",
        test="tests/stores/test_claims.py",
    ),
    Guard(
        "a change that another writer overtook is made anew",
        "stores/organizations.py",
        "(table.c.organization_id == organization_id) & (table.c.version == before.version)",
        "table.c.organization_id == organization_id",
        test="tests/stores/test_organizations.py",
    ),
    Guard(
        "an organization that came back is not erased when a retention ends",
        "stores/organizations.py",
        "if only is not None:",
        "if False:",
        test="tests/installs/test_erasure.py",
    ),
]
