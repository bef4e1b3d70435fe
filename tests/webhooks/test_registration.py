"""What a handler and a view may be registered for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_orbro import ConfigurationError, OrbroConnect, webhook_required


def on_handler(event: Any = None, **wanted: Any) -> None:
    @OrbroConnect().on(event, path="/a", **wanted)
    def receiver(delivery: Any) -> None:
        pass


def on_view(event: Any = None, **wanted: Any) -> None:
    @webhook_required(event=event, **wanted)
    def receiver() -> dict[str, str]:
        return {}


Register = Callable[..., None]
both = pytest.mark.parametrize("register", [on_handler, on_view])


@both
@pytest.mark.parametrize("event", ["", "a\x00b", "a\nb", "\ud800", "x" * 256, 7, b"a", ["a"]])
def test_an_event_that_no_delivery_could_name_is_refused(register: Register, event: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"receiver \(test_registration\.py:\d+\) names no event"):
        register(event)


@both
@pytest.mark.parametrize(
    "value",
    [None, ["v"], {"v": 1}, b"v", float("nan"), float("-inf"), pytest.param(10**400, id="beyond floats")],
)
def test_a_value_that_no_payload_could_show_is_refused(register: Register, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"receiver \(test_registration\.py:\d+\) needs both"):
        register("a", property="p", value=value)


@both
@pytest.mark.parametrize("name", [None, "", 7])
def test_a_value_needs_the_name_of_a_property(register: Register, name: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"receiver \(test_registration\.py:\d+\) needs both"):
        register("a", property=name, value="v")


@both
@pytest.mark.parametrize("value", ["", "v", 0, 7, -1.5, True, False])
def test_text_numbers_and_truth_values_are_taken(register: Register, value: Any) -> None:
    register("x" * 255, property="p", value=value)


@pytest.mark.parametrize("wanted", [{"property": "p", "value": "v"}, {"property": "p"}, {"value": 0}])
def test_a_view_with_a_filter_and_no_event_is_refused(wanted: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"receiver .* names no event"):
        on_view(**wanted)


@pytest.mark.parametrize("event", ["*", "a:b*", "a:?", "a:[bc]"])
def test_a_pattern_is_for_handlers_alone(event: str) -> None:
    on_handler(event)
    with pytest.raises(ConfigurationError, match=r"receiver .* is a view for one event, .* is a pattern"):
        on_view(event)
