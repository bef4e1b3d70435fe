"""What keeps the faults of the platform's SDK out, and how each would come back; the last is that it knows no
Flask.
"""

from __future__ import annotations

from functools import partial

from .guards import Guard as GuardWithTest

Guard = partial(GuardWithTest, test="tests/test_known_faults.py")
Later = partial(GuardWithTest, test="tests/test_known_faults_11_to_14.py")

FAULTS = [
    Guard(
        "fault 1: the status of the platform's answer is looked at",
        "verdicts.py",
        "    if status in (401, 403):\n",
        '    if "uuid" in document:\n        status = 200\n    if status in (401, 403):\n',
    ),
    Guard(
        "fault 2: nothing is sent to a host that the caller named",
        "authenticator.py",
        "        token = presented.token\n",
        "        token = presented.token\n        self._ask(USER_PATH, presented.origins[0], token)\n",
    ),
    Guard(
        "fault 3: an e-mail counts once the platform has accepted its token",
        "authenticator.py",
        "body = self._judge(USER_PATH, origin, organization.organization_id, token)",
        'body = {"uuid": "u", "role": "", "status": ""}',
    ),
    Guard(
        "fault 4: who claims an organization does not have it",
        "installs/inquiry.py",
        "            if proof.outcome is not Outcome.ACCEPTED:\n                self._claims.save",
        "            if proof.outcome is Outcome.FAULT:\n                self._claims.save",
    ),
    Guard(
        "fault 5: a second install is taken",
        "api/lifecycle.py",
        "        state.lifecycle.installed(Installed(**body))\n",
        '        if state.organizations.get(body["organization_id"]):\n'
        "            return Response(status=400)\n"
        "        state.lifecycle.installed(Installed(**body))\n",
    ),
    Guard(
        "fault 6: what an expired token was refused for is sent again",
        "http/token_auth.py",
        "        if not _is_refusal(response):\n            return\n",
        "        return\n",
    ),
    Guard(
        "fault 6: a kept token has an end",
        "platform/tokens.py",
        "self.store.keep(kept, mark, expires_in=self._life)",
        "self.store.keep(kept, mark, expires_in=1e9)",
    ),
    Guard(
        "fault 7: a caller is known to its own request",
        "context.py",
        "return request.__dict__ if has_request_context() else g.__dict__",
        "return _kept.__dict__",
    ),
    Guard(
        "fault 7: an app has a database of its own",
        "storage.py",
        'f"orbro-{hashlib.sha256(client_id.encode()).hexdigest()[:8]}.sqlite"',
        '"orbro.sqlite"',
        test="tests/test_config_apps.py",
    ),
    Guard(
        "fault 8: connections are kept",
        "http/pool.py",
        "        client = self._client\n",
        "        client = self._client = None\n",
    ),
    Guard(
        "fault 8: verdicts are kept",
        "authenticator.py",
        "        verdict, forgotten = self._verdicts.recall(name, token)\n        self._metrics",
        "        verdict = None\n        self._metrics",
    ),
    Guard(
        "fault 9: what is logged is redacted",
        "logs.py",
        "        redacted = self.redact(message)\n",
        "        redacted = message\n",
    ),
    Guard(
        "fault 10: who names an organization does not act as it",
        "context.py",
        "    organization = get_organization()\n    if organization is None:\n",
        '    known: Any = current_app.extensions["orbro"].organizations\n'
        '    organization = known.bound_to(request.headers.get("sub", ""))\n    if organization is None:\n',
    ),
    Later(
        "fault 11: no database connection is held while the platform is asked",
        "authenticator.py",
        "        answered = False\n",
        "        answered = False\n        held = self._organizations.sessions()\n"
        "        held.connection()\n",
    ),
    Later(
        "fault 12: a webhook token has an end",
        "webhook_token.py",
        "            if rules.require_exp:\n",
        "            if False:\n",
    ),
    Later(
        "fault 12: a webhook token ends soon",
        "webhook_token.py",
        "        elif expires > now + rules.max_life + rules.leeway:\n",
        "        elif False:\n",
    ),
    Later(
        "fault 13: what is no answer of the platform's refuses nobody",
        "verdicts.py",
        'return Verdict(Outcome.FAULT, reason=f"status_{status}_without_json_object")',
        "return Verdict(Outcome.REFUSED)",
    ),
]
