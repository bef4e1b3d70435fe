"""The guards of what is kept: of secrets at rest, of claims, and of writers who meet."""

from __future__ import annotations

from ..guards import Guard

STORED = [
    Guard(
        "names in a cache tell nothing to who has not the client secret",
        "stores/cache.py",
        'derive_key(client_secret, purpose + ":name")',
        'derive_key("", purpose + ":name")',
        test="tests/stores/test_cache.py",
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
        "(table.c.id == row.id) & (table.c.version == before.version)",
        "table.c.id == row.id",
        test="tests/stores/test_organizations.py",
    ),
    Guard(
        "a secret of a claim opens in its own row alone",
        "stores/records.py",
        'return ConnectAppClaimMixin.__tablename__, organization_id, digest, "shared_secret"',
        'return ConnectAppClaimMixin.__tablename__, "shared_secret"',
        test="tests/stores/test_secrets_at_rest.py",
    ),
    Guard(
        "what was read before a change does not outlive it in the cache",
        "stores/organization_cache.py",
        "if generation == self._generation:",
        "if True:",
        test="tests/stores/test_secrets_at_rest.py",
    ),
    Guard(
        "a rotation overwrites nothing that the app has written meanwhile",
        "stores/rotation.py",
        '(secrets.column == bindparam("was"))',
        '(bindparam("was") != "")',
        test="tests/stores/test_secrets_at_rest.py",
    ),
    Guard(
        "errors of the database show no parameters",
        "stores/transactions.py",
        "error.hide_parameters = True",
        "pass",
        test="tests/stores/test_secrets_at_rest.py",
    ),
    Guard(
        "a secret that another process replaces is not kept past its window",
        "assembly.py",
        "min(config.organization_ttl, config.previous_secret_window / 2)",
        "config.organization_ttl",
        test="tests/webhooks/test_webhook_verification.py",
    ),
    Guard(
        "a previous secret is not kept past its window",
        "stores/organization_cache.py",
        "organization = self._without_what_ends(organization)",
        "pass",
        test="tests/stores/test_secrets_at_rest.py",
    ),
    Guard(
        "a token is not at hand once the store was changed",
        "platform/tokens.py",
        "known.generation is self.store.generation(organization.organization_id)",
        "True",
        test="tests/platform/test_token_at_hand.py",
    ),
    Guard(
        "a token is at hand for the organization that it was found for alone",
        "platform/tokens.py",
        "known.organization() is organization",
        "True",
        test="tests/platform/test_token_at_hand.py",
    ),
]
