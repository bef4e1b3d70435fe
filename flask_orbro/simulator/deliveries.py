"""Deliveries as they come in earnest: in bursts, twice, late, out of order, and forged."""

from __future__ import annotations

import base64
import json
import random
import secrets
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import jwt

from .errors import AppCallError, FieldError
from .lifecycle import Lifecycle
from .models import TAMPERS, Installation, Outcome
from .tokens import WEBHOOK_ISSUER, WEBHOOK_TOKEN_LIFE

MOST = 100_000


@dataclass(frozen=True)
class Sending:
    """One request to the app.

    :param kind: ``genuine``, ``duplicate``, ``replay``, or ``tampered: …``.
    """

    kind: str
    content: str
    token: str | None = field(repr=False)


@dataclass(frozen=True)
class Report:
    """What the app answered.

    :param answers: how often it answered what, by kind of delivery: ``{"genuine": {"202 received": 9}}``.
    :param p50: seconds until its answer, as ``p99`` and ``slowest``.
    :param ok: whether it took all that is genuine, and refused with 4xx what is tampered with noticeably.
    """

    url: str
    sent: int
    answers: dict[str, dict[str, int]]
    seconds: float
    p50: float
    p99: float
    slowest: float
    ok: bool


class Deliveries(Lifecycle):
    """Sends many deliveries at once."""

    def deliver(
        self,
        subdomain: str,
        event: str,
        data: Any = None,
        path: str | None = None,
        *,
        app_url: str | None = None,
        count: int = 1,
        duplicates: int = 0,
        reorder: bool = False,
        replay: bool = False,
        tamper: Iterable[str] = (),
        concurrency: int = 1,
        seed: int | None = None,
    ) -> Report:
        """Deliver an event ``count`` times; a member ``number`` tells one delivery from the other.

        :param duplicates: how many times each is sent again, with the same token, among the others.
        :param reorder: send them in no order.
        :param replay: send each once more at the end.
        :param tamper: how to forge one more delivery each, of :data:`TAMPERS`.
        :param concurrency: requests at once.
        :param seed: of the order.
        :raises SimulatorError: as :meth:`webhook`.
        """
        if not 0 < count * (duplicates + 1) <= MOST or not 1 <= concurrency <= 256:
            raise FieldError("count", f"must be 1 to {MOST} deliveries in all, at most 256 at once")
        forgeries = list(tamper)
        if set(forgeries) - set(TAMPERS):
            raise FieldError("tamper", f"must be of {', '.join(TAMPERS)}")
        row, target = self.delivery_target(subdomain, event, path, app_url)
        bodies = [
            {
                "event_name": event,
                "organization_id": row.organization_id,
                "data": data or {},
                "number": number,
            }
            for number in range(count)
        ]
        genuine = [Sending("genuine", json.dumps(body), self._token(row)) for body in bodies]
        # A duplicate follows its original at once: with more than one request at a time they race.
        sendings = [
            sending for one in genuine for sending in (one, *[replace(one, kind="duplicate")] * duplicates)
        ]
        sendings += [self._forge(row, bodies[0] | {"number": kind}, kind) for kind in forgeries]
        if reorder:
            random.Random(seed).shuffle(sendings)  # noqa: S311
        replays = [replace(one, kind="replay") for one in genuine] if replay else []
        return self._send(target, [sendings, replays], concurrency)

    def _send(self, target: str, rounds: list[list[Sending]], concurrency: int) -> Report:
        began = time.perf_counter()
        answers: list[tuple[Sending, Outcome | None]] = []
        with ThreadPoolExecutor(concurrency) as pool:
            for sendings in rounds:  # what is sent again at the end waits for all that is before it
                answers += pool.map(lambda one: (one, self._once(target, one)), sendings)
        times = sorted(outcome.elapsed for _, outcome in answers if outcome is not None) or [0.0]
        counted: dict[str, Counter[str]] = {}
        for one, outcome in answers:
            counted.setdefault(one.kind, Counter())[_label(outcome)] += 1
        return Report(
            url=target,
            sent=len(answers),
            answers={kind: dict(labels) for kind, labels in counted.items()},
            seconds=time.perf_counter() - began,
            p50=times[len(times) // 2],
            p99=times[min(len(times) - 1, int(len(times) * 0.99))],
            slowest=times[-1],
            ok=all(_as_it_should(one, outcome) for one, outcome in answers),
        )

    def _once(self, target: str, one: Sending) -> Outcome | None:
        headers = {} if one.token is None else {"Authorization": f"Bearer {one.token}"}
        try:
            return self._post_text(target, one.content, headers)
        except AppCallError:
            return None

    def _forge(self, row: Installation, body: dict[str, Any], kind: str) -> Sending:
        content = json.dumps(body)
        right = self._token(row)
        token: str | None = right
        if kind == "signature":
            unsigned, _, signature = right.rpartition(".")
            token = f"{unsigned}.{signature[:10]}{'B' if signature[10] == 'A' else 'A'}{signature[11:]}"
        elif kind == "secret":
            token = jwt.encode(self._claims(row), secrets.token_urlsafe(32), algorithm="HS256")
        elif kind == "algorithm":
            head = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
            token = f"{head}.{right.split('.')[1]}."
        elif kind == "missing":
            token = None
        elif kind == "json":
            content = content[:-1]
        elif kind == "body":
            content = json.dumps(body | {"data": {"tampered": True}})
        else:
            changed: dict[str, dict[str, Any]] = {
                "organization": {"sub": "organizationId:another"},
                "issuer": {"issued_by": "somebody-else"},
                "expired": {"exp": int(self.clock()) - 3600},
                "endless": {"exp": int(self.clock()) + 100 * 365 * 86400},
            }
            token = jwt.encode(self._claims(row) | changed[kind], row.shared_secret, algorithm="HS256")
        return Sending(f"tampered: {kind}", content, token)

    def _token(self, row: Installation) -> str:
        return jwt.encode(self._claims(row), row.shared_secret, algorithm="HS256")

    def _claims(self, row: Installation) -> dict[str, Any]:
        now = int(self.clock())
        subject = f"organizationId:{row.organization_id}"
        return {"issued_by": WEBHOOK_ISSUER, "sub": subject, "iat": now, "exp": now + WEBHOOK_TOKEN_LIFE}


def _label(outcome: Outcome | None) -> str:
    if outcome is None:
        return "no answer"
    body = outcome.body if isinstance(outcome.body, dict) else {}
    word = body.get("state") if outcome.ok else body.get("code")
    return f"{outcome.status} {word}" if isinstance(word, str) else str(outcome.status)


def _as_it_should(one: Sending, outcome: Outcome | None) -> bool:
    if outcome is None:
        return False
    if one.kind.startswith("tampered") and not one.kind.endswith(" body"):
        return 400 <= outcome.status < 500
    return outcome.ok
