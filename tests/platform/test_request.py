"""What cannot be sent is refused before anything is, with an error that says so and shows no secret."""

from __future__ import annotations

import math
import traceback
from collections import Counter
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_orbro import NotAllowed
from flask_orbro.errors import InvalidCall

from ..world import USERS_PATH
from .conftest import Caller, MakeCaller, MakeWorld, client_of

SECRET = "a-secret-of-the-caller"
ELSEWHERE: list[Any] = [
    "http://evil.example/", "https://evil.example", "//evil.example/", "/\\evil.example", "\\\\evil.example",
    "evil.example", "@evil.example", ".evil.example", ":80/", "/..", "/api/../admin",
]  # fmt: skip
NO_PATHS: list[Any] = [
    "", "?a", "#a", "/a#b", " /api", "/a b", "/a\nb", "/a\r\nX: y", "/a\x00", "/a\x7f", "/a\x9f", "/a\u2028",
    "/a\ud800", "/" + "a" * 70_000, "/" + "é" * 40_000, None, 7, b"/api", ["/api"],
]  # fmt: skip
NO_OPTIONS: list[dict[str, Any]] = [
    {"params": {"a": "\ud800" + SECRET}},
    {"params": {"\ud800": SECRET}},
    {"params": {"a": "a" * 70_000}},
    {"headers": {"X-Key": SECRET + "\r\nX-Other: 1"}},
    {"headers": {"X-Key": SECRET + "\x00"}},
    {"headers": {"X-Key": f" {SECRET}"}},
    {"headers": {"X-Key": SECRET + "é\ud800"}},
    {"headers": {"X Key": SECRET}},
    {"headers": {"": SECRET}},
    {"headers": {"X-Key\n": SECRET}},
    {"headers": {"X-Key": SECRET * 5_000}},
    {"headers": [("X-Key", SECRET + "\n")]},
    {"json": {"a": "\ud800" + SECRET}},
    {"json": {"a": math.nan}},
    {"data": {"a": "\ud800" + SECRET}},
    {"content": "\ud800" + SECRET},
    {"data": {"a": 1}, "json": {"a": 1}},
    {"data": {"a": 1}, "content": b"a"},
    {"json": {"a": 1}, "content": b"a"},
    {"json": {"a": 1}, "content": b""},
    {"json": {"a": 1}, "files": {"plan": b"walls"}},
    {"content": b"a", "files": {"plan": b"walls"}},
    {"data": {"a": 1}, "files": {"plan": b"walls"}, "json": False},
    {"cookies": {"a": "b\r\nX-Key: " + SECRET}},
    *[
        {"timeout": odd}
        for odd in (0, -1, "5", "abc", (1,), (1, 2, 3, 4, 5), (), (1, -1), (1, "a"), [], {}, object())
    ],
    *[{"timeout": odd} for odd in (math.nan, math.inf, 1e30, True, (1, math.nan), httpx2.Timeout(0))],
]
OUR_OWN = {ValueError, InvalidCall}
NO_METHODS: list[Any] = ["", "G" * 30, "GET /x", "GET\r\n", "GÉT", None, 7, b"GET"]


def refuse(call: Caller, method: Any = "POST", path: Any = USERS_PATH, **options: Any) -> None:
    """Assert that a call is refused and that nothing was sent."""
    before = len(call.world.seen)
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        call(method, path, **options)
    assert type(raised.value) in OUR_OWN, "neither the encoder's nor the HTTP library's"
    assert raised.value.args[0][0].isupper()
    assert SECRET not in "".join(traceback.format_exception(raised.value))
    assert len(call.world.seen) == before


def test_a_path_that_could_name_another_host_is_refused(make_caller: MakeCaller) -> None:
    call = make_caller()
    for path in ELSEWHERE:
        refuse(call, "GET", path)
        refuse(call, "POST", path, json={})


def test_what_is_no_path_is_refused(make_caller: MakeCaller) -> None:
    call = make_caller()
    for path in NO_PATHS:
        refuse(call, "GET", path)


def test_what_cannot_be_encoded_is_refused(make_caller: MakeCaller) -> None:
    call = make_caller()
    for options in NO_OPTIONS:
        refuse(call, **options)


def test_what_is_no_method_is_refused(make_caller: MakeCaller) -> None:
    call = make_caller()
    for method in NO_METHODS:
        refuse(call, method)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": "1"},
        {"Content-Length": "10"},
        {"Content-Length": "-3"},
        {"Content-Length": "three"},
        [("Content-Length", "3"), ("Content-Length", "4")],
        {"Transfer-Encoding": "gzip"},
    ],
)
def test_a_body_that_does_not_fit_its_headers_is_refused(make_caller: MakeCaller, headers: Any) -> None:
    call = make_caller()
    refuse(call, content=b"abc", headers=headers, retry=True)
    with pytest.raises(ValueError, match="does not fit"):
        call("POST", content=[b"a", b"bc"], headers=headers, retry=True)
    assert call().status_code == 200, "the broken connection is not used again"


def test_a_stream_is_refused_before_anything_is_sent_too(make_world: MakeWorld) -> None:
    client = client_of(make_world())
    with pytest.raises(ValueError, match="A path of a call"), client.stream("GET", "//evil.example"):
        pass


def test_a_url_cannot_come_in_by_another_way(make_world: MakeWorld) -> None:
    world = make_world()
    before = len(world.seen)
    options: dict[str, Any]
    for options in (
        {"url": "http://evil.example"},
        {"client": None},
        {"base_url": "http://evil"},
        {"extensions": {"target": b"http://evil.example/"}},
        {"auth": None},
        {"auth": ("user", "password")},
    ):
        with pytest.raises(TypeError):
            client_of(world).get(USERS_PATH, **options)
    assert len(world.seen) == before


def test_a_timeout_may_be_said_in_each_of_its_forms(make_caller: MakeCaller) -> None:
    call = make_caller()
    for timeout in (5, 0.5, None, (5, 5), (5, 5, None), (1, 2, 3, 4), httpx2.Timeout(5, read=None)):
        assert call(timeout=timeout).status_code == 200


def test_an_asynchronous_stream_is_for_an_async_client(make_world: MakeWorld) -> None:
    async def parts() -> Any:
        yield b"{}"

    with pytest.raises(TypeError, match="async client"):
        client_of(make_world()).post(USERS_PATH, content=parts())


def test_data_is_no_stream_and_no_text(make_world: MakeWorld) -> None:
    client, nothing = client_of(make_world()), {"plan": b"walls"}
    for options in ({"data": "text"}, {"data": iter([b"a"])}, {"data": ["a"], "files": nothing}):
        with pytest.raises(TypeError, match="'content'"):
            client.post(USERS_PATH, **options)


TEXT = st.text(max_size=12) | st.text(st.characters(categories=("Cs", "Cc", "Lu")), max_size=5)
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
CALLS = st.fixed_dictionaries(
    {"method": st.sampled_from(["GET", "POST", "PUT", "head"]) | TEXT},
    optional={
        "path": TEXT.map("/api/v1/users/{}".format) | TEXT,
        "params": st.dictionaries(TEXT, VALUES | st.lists(VALUES, max_size=2), max_size=2),
        "headers": st.dictionaries(TEXT, TEXT, max_size=2) | st.lists(st.tuples(TEXT, TEXT), max_size=2),
        "json": st.recursive(VALUES, lambda inner: st.dictionaries(TEXT, inner, max_size=2), max_leaves=4),
        "content": TEXT | st.binary(max_size=8) | st.lists(st.binary(max_size=8), max_size=3),
        "files": st.dictionaries(TEXT, st.binary(max_size=8) | st.tuples(TEXT, st.binary()), max_size=2),
        "data": st.dictionaries(TEXT, VALUES, max_size=2),
    },
)


def test_whatever_is_given_there_is_an_answer_or_an_error_that_says_why(make_world: MakeWorld) -> None:
    client = client_of(make_world(ORBRO_CALL_ATTEMPTS=1))
    found: Counter[Any] = Counter()

    @settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
    @given(CALLS)
    def call(given: dict[str, Any]) -> None:
        try:
            found[client.request(**{"path": USERS_PATH, **given}).status_code] += 1
        except ValueError as error:
            found[type(error)] += 1

    call()
    assert {kind for kind in found if not isinstance(kind, int)} == OUR_OWN
    assert min(found[200], found[400]) > 0
    assert client.get(USERS_PATH).status_code == 200


def test_an_odd_character_that_can_be_sent_is_sent(make_caller: MakeCaller) -> None:
    call = make_caller()
    queries: list[str] = []
    call.world.watch(lambda sent: queries.append(sent["QUERY_STRING"]))
    assert call(params={"a": "\x00\n"}).status_code == 200
    assert call(path="/api/v1/úsers").status_code == 404
    assert queries[0] == "a=%00%0A"


@pytest.mark.parametrize(
    "name", ["nobody", "", "\x00", "a\x00", "\ud800", "é", "a b", "o" * 3000, 7, b"acme", None, ["acme"]]
)
def test_what_no_organization_can_be_called_is_not_looked_for(make_world: MakeWorld, name: Any) -> None:
    world = make_world()
    for client_for in (world.orbro.client_for, world.orbro.async_client_for):
        for named in ({"organization_id": name}, {"subdomain": name}, {"user_id": name}):
            with pytest.raises(NotAllowed):
                client_for(**named, app=world.app)
