"""Whatever the simulator sends, an inbox takes what is genuine once, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from flask_orbro.simulator.models import TAMPERS

from .conftest import EVENT, EVENTS, InboxWorld


def test_an_inbox_answers_as_it_should(make_inbox_world: Callable[..., InboxWorld]) -> None:
    handled: list[int] = []
    world = make_inbox_world(
        handlers=lambda orbro: orbro.on(EVENT, path=EVENTS)(
            lambda delivery: handled.append(delivery.payload["number"])
        ),
        ORBRO_WORKER="thread",
    )
    report = world.platform.deliver(
        "acme", EVENT, path=EVENTS, count=30, duplicates=2, replay=True, reorder=True, concurrency=4,
        tamper=[kind for kind in TAMPERS if kind != "body"],
    )  # fmt: skip
    assert report.ok
    taken: Counter[str] = Counter()
    for kind in ("genuine", "duplicate", "replay"):
        taken.update(report.answers.pop(kind))
    assert taken == {"202 received": 30, "202 duplicate": 90}
    assert report.answers.pop("tampered: json") == {"400 json_malformed": 1}
    assert report.answers.pop("tampered: missing") == {"401 token_missing": 1}
    assert report.answers.pop("tampered: expired") == {"401 token_expired": 1}
    assert {label for labels in report.answers.values() for label in labels} == {"401 token_invalid"}
    world.wait_until(lambda: sorted(handled) == list(range(30)))
