"""``@webhook_required(deduplicate=True)``: a view handles each delivery once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from flask import Response, abort, jsonify, request
from werkzeug.exceptions import HTTPException

from flask_orbro import current_delivery, webhook_required
from flask_orbro.stores.delivery_record import DeliveryState

from ..conftest import bearer
from ..world import KINDS, is_problem
from .conftest import InboxWorld

both_modes = pytest.mark.parametrize("testing", [True, False], ids=["testing", "production"])
every_kind = pytest.mark.parametrize("kind", KINDS)
MakeWorld = Callable[..., InboxWorld]
PATH = "/webhook/once"


class View:
    """What the view does: answer, or fail."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.seen: list[Any] = []
        self.ids: list[int | None] = []

    def __call__(self) -> Any:
        self.seen.append(current_delivery.payload)
        self.ids.append(current_delivery.id)
        outcome = self.outcomes.pop(0) if self.outcomes else {}
        if isinstance(outcome, Exception):
            raise outcome
        if isinstance(outcome, int):
            abort(outcome)
        return outcome


@pytest.fixture
def make_world(make_inbox_world: MakeWorld) -> Callable[..., InboxWorld]:
    def make(view: Callable[[], Any], **options: Any) -> InboxWorld:
        decorate = webhook_required(deduplicate=True)
        return make_inbox_world(views={PATH: (decorate, view)}, **options)

    return make


def sender(world: InboxWorld) -> Callable[..., Any]:
    """Sends one and the same delivery."""
    token = world.platform.webhook_token("acme")
    return partial(world.send, path=PATH, token=token, json={"a": 1})


@both_modes
@every_kind
def test_an_equal_delivery_is_answered_and_not_handled(
    make_world: Callable[..., InboxWorld], testing: bool, kind: str
) -> None:
    view = View({"fine": True})
    world = make_world(view, kind=kind, TESTING=testing)
    send = sender(world)
    first, second = send(), send()
    assert (first.status_code, first.json) == (200, {"fine": True})
    assert second.status_code == 202
    assert second.json["state"] == "duplicate"
    assert view.seen == [{"a": 1}]
    assert view.ids == [world.rows[0].id]
    assert [row.state for row in world.rows] == [DeliveryState.DONE, DeliveryState.DUPLICATE]
    assert world.rows[0].duration is not None
    assert world.send(path=PATH).status_code == 200


@both_modes
@every_kind
@pytest.mark.parametrize("outcome", [400, 503, ({"error": 1}, 500)], ids=["400", "503", "answers 500"])
def test_what_failed_may_come_again(
    make_world: Callable[..., InboxWorld], testing: bool, kind: str, outcome: Any
) -> None:
    view = View(outcome, {})
    world = make_world(view, kind=kind, TESTING=testing)
    send = sender(world)
    assert send().status_code >= 400
    assert world.rows[0].state is DeliveryState.FAILED
    assert [send().status_code, send().status_code] == [200, 202]
    assert len(view.seen) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_what_raised_may_come_again(make_world: Callable[..., InboxWorld], kind: str) -> None:
    world = make_world(View(ValueError("shared_secret=hunter2")), kind=kind)
    send = sender(world)
    assert send().status_code == 500
    row = world.rows[0]
    assert (row.state, row.last_error) == (DeliveryState.FAILED, "ValueError: shared_[redacted]")
    assert send().status_code == 200


@both_modes
@every_kind
def test_the_answer_decides_whether_it_failed(
    make_world: Callable[..., InboxWorld], testing: bool, kind: str
) -> None:
    view = View(HTTPException(response=Response("fine")))
    world = make_world(view, kind=kind, TESTING=testing)
    send = sender(world)
    assert [send().status_code, send().status_code] == [200, 202]
    assert len(view.seen) == 1
    assert [row.state for row in world.rows] == [DeliveryState.DONE, DeliveryState.DUPLICATE]


@both_modes
def test_an_error_that_nobody_answers_is_a_failure(
    make_world: Callable[..., InboxWorld], testing: bool
) -> None:
    world = make_world(View(ValueError("broken")), TESTING=testing, PROPAGATE_EXCEPTIONS=True)
    headers = bearer(world.platform.webhook_token("acme"))
    client = world.app.test_client()
    with pytest.raises(ValueError, match="broken"):
        client.post(PATH, json={"a": 1}, headers=headers)
    assert (world.rows[0].state, world.rows[0].last_error) == (DeliveryState.FAILED, "ValueError: broken")
    assert client.post(PATH, json={"a": 1}, headers=headers).status_code == 200


@both_modes
def test_one_route_with_two_paths_has_two_deliveries(make_inbox_world: MakeWorld, testing: bool) -> None:
    seen: list[str] = []

    def view() -> Any:
        seen.append(request.path)
        return {}

    decorate = webhook_required(deduplicate=True)
    world = make_inbox_world(views={"/webhook/of/<int:number>": (decorate, view)}, TESTING=testing)
    token = world.platform.webhook_token("acme")
    for number in (1, 2, 1):
        world.send(path=f"/webhook/of/{number}", token=token, json={"a": 1})
    assert seen == ["/webhook/of/1", "/webhook/of/2"]


def test_while_a_view_is_at_it_an_equal_one_is_asked_for_later(make_world: Callable[..., InboxWorld]) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def view() -> Any:
        if not begun.is_set():
            begun.set()
            assert go_on.wait(10)
        return jsonify({})

    world = make_world(view, ORBRO_HANDLER_TIME_LIMIT=50)
    send = sender(world)
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(send()))
    thread.start()
    assert begun.wait(10)
    busy = send()
    assert is_problem(busy, 503)["code"] == "delivery_under_way"
    assert int(busy.headers["Retry-After"]) > 0
    # A view that has been at it for too long is lost: its process has ended.
    world._ahead += 100
    assert send().status_code == 200
    go_on.set()
    thread.join()
    assert answers[0].status_code == 200
    assert [row.state for row in world.rows] == [DeliveryState.FAILED, DeliveryState.DONE]


def test_a_refused_caller_leaves_nothing(make_world: Callable[..., InboxWorld]) -> None:
    world = make_world(View())
    is_problem(world.send(path=PATH, token="nonsense"), 401)
    assert world.rows == []


def test_a_view_without_it_leaves_nothing(make_inbox_world: MakeWorld) -> None:
    world = make_inbox_world()
    assert world.send(path="/webhook/device").status_code == 200
    assert world.rows == []


@both_modes
@every_kind
@pytest.mark.parametrize("deduplicate", [False, True], ids=["each time", "once"])
def test_an_inline_delivery_that_names_no_event_has_the_one_of_its_view(
    make_inbox_world: MakeWorld, testing: bool, kind: str, deduplicate: bool
) -> None:
    def view() -> Any:
        return {"event": current_delivery.event}

    decorate = webhook_required(event="a:b", deduplicate=deduplicate)
    world = make_inbox_world(views={PATH: (decorate, view)}, kind=kind, TESTING=testing)
    assert world.send(path=PATH, json={"a": 1}).json == {"event": "a:b"}
    assert world.send("c:d", path=PATH).json == {"event": "c:d"}
    assert [row.event for row in world.rows] == (["a:b", "c:d"] if deduplicate else [])


def test_an_inline_delivery_names_its_event(make_inbox_world: MakeWorld) -> None:
    def view() -> Any:
        return jsonify(event=current_delivery.event, id=current_delivery.id)

    world = make_inbox_world(views={"/webhook/plain": (webhook_required, view)})
    assert world.send("a:b", path="/webhook/plain").json == {"event": "a:b", "id": None}
