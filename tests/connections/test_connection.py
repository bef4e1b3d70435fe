"""Calls by a connection: what is sent, to whom, and what comes back."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
from flask import request
from werkzeug.serving import make_server

from flask_orbro import (
    ConnectionFailed,
    ConnectionMisconfigured,
    ConnectionRateLimited,
    ConnectionRefused,
    ConnectionUnavailable,
)
from flask_orbro.connections import AsyncConnection, Connection, ConnectionResponse

from .backend import Backend, running_backend

SECRET = "s3cret+/=?&%"
CONFIG = {"KEY": SECRET, "CLIENT_SECRET": Backend.secret}
REFERENCE = {"config": "KEY"}


@pytest.fixture
def backend() -> Iterator[Backend]:
    with running_backend() as backend:
        yield backend


class Form:
    """A connection, sync or async, with the same words."""

    def __init__(self, form: str) -> None:
        self._form = form

    def __call__(
        self, definition: dict[str, Any], method: str, path: str, **options: Any
    ) -> ConnectionResponse:
        if self._form == "sync":
            with_threads = Connection("weather", definition, config=CONFIG)
            try:
                return with_threads.request(method, path, **options)
            finally:
                with_threads.close()

        async def call() -> ConnectionResponse:
            return await AsyncConnection("weather", definition, config=CONFIG).request(
                method, path, **options
            )

        return asyncio.run(call())


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Form:
    return Form(request.param)


BASIC = base64.b64encode(f"user:{SECRET}".encode()).decode()


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"kind": "none"}, "Authorization", None),
        ({"kind": "api_key", "key": REFERENCE, "header": "X-Api-Key"}, "X-Api-Key", SECRET),
        ({"kind": "basic", "username": "user", "password": REFERENCE}, "Authorization", f"Basic {BASIC}"),
        ({"kind": "bearer", "token": REFERENCE}, "Authorization", f"Bearer {SECRET}"),
    ],
)
def test_the_credential_is_shown(
    backend: Backend, call: Form, auth: dict[str, Any], header: str, value: str | None
) -> None:
    answer = call({"url": backend.url, "auth": auth}, "GET", "/weather").raise_for_status().json()
    assert answer["headers"].get(header) == value
    assert "Cookie" not in answer["headers"]


def test_a_key_goes_into_the_query_on_the_wire_alone(
    backend: Backend, call: Form, caplog: pytest.LogCaptureFixture
) -> None:
    definition = {"url": backend.url, "auth": {"kind": "api_key", "key": REFERENCE, "query": "app id"}}
    with caplog.at_level(logging.DEBUG):
        for path, params, query in [
            ("/weather", None, {}),
            ("/weather?city=Seoul", None, {"city": "Seoul"}),
            ("/weather", {"city": "Sè&oul"}, {"city": "Sè&oul"}),
        ]:
            response = call(definition, "GET", path, params=params)
            assert response.json()["query"] == query | {"app id": SECRET}
            assert "app" not in str(response.url.query)
            shown = repr(response) + str(response.request.url) + repr(response.request)
            assert SECRET not in shown
    ours = [record.getMessage() for record in caplog.records if record.name != "werkzeug"]
    assert any("HTTP Request: GET" in message for message in ours)
    assert "s3cret" not in "".join(ours)
    assert "Seoul" not in "".join(ours)


def test_a_query_that_a_back_end_repeats_is_in_no_log(
    backend: Backend, call: Form, caplog: pytest.LogCaptureFixture
) -> None:
    backend.app.add_url_rule("/moved", "moved", lambda: ("", 302, {"Location": request.url}))
    definition = {"url": backend.url, "auth": {"kind": "api_key", "key": REFERENCE, "query": "key"}}
    with caplog.at_level(logging.DEBUG):
        assert "s3cret" in call(definition, "GET", "/moved").headers["Location"]
    ours = [record.getMessage() for record in caplog.records if record.name != "werkzeug"]
    assert any("/moved?[redacted]" in message for message in ours)
    assert "s3cret" not in "".join(ours)


def test_connections_can_be_closed_and_used_again(backend: Backend) -> None:
    with Connection("weather", {"url": backend.url}) as connection:
        assert connection.get("/a").status_code == 200
        client = connection._calling.http.client
    assert client.is_closed
    assert connection.get("/a").status_code == 200
    connection.close()

    async def main() -> None:
        async with AsyncConnection.like(connection) as asynchronous:
            assert (await asynchronous.get("/a")).status_code == 200
            client = await asynchronous._calling.http.async_client()
        assert client.is_closed
        assert (await asynchronous.get("/a")).status_code == 200
        await asynchronous.aclose()
        await asynchronous.aclose()

    asyncio.run(main())


def test_a_path_is_put_behind_the_url(backend: Backend, call: Form) -> None:
    for url in (backend.url + "/v1", backend.url + "/v1/"):
        assert call({"url": url}, "GET", "/weather").json()["path"] == "/v1/weather"


def test_headers_of_the_definition_are_sent_and_a_call_s_own_win(backend: Backend, call: Form) -> None:
    definition = {"url": backend.url, "headers": {"X-Secret": REFERENCE, "Accept": "text/x"}}
    sent = call(definition, "GET", "/a", headers={"Accept": "text/y"}).json()["headers"]
    assert (sent["X-Secret"], sent["Accept"], sent["User-Agent"]) == (SECRET, "text/y", "flask-orbro")
    definition["headers"] = {"user-agent": "weather-app"}
    assert call(definition, "GET", "/a").json()["headers"]["User-Agent"] == "weather-app"


def test_headers_of_the_definition_are_not_sent_to_the_token_url(backend: Backend, call: Form) -> None:
    definition = {
        "url": backend.url,
        "headers": {"X-Secret": REFERENCE},
        "auth": {
            "kind": "oauth2_client_credentials",
            "token_url": backend.url + "/token",
            "client_id": "app",
            "client_secret": {"config": "CLIENT_SECRET"},
        },
    }
    assert call(definition, "GET", "/guarded").status_code == 200
    assert [("X-Secret" in headers) for _, headers, _ in backend.seen] == [False, True]


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "head", "options"])
def test_every_method_has_a_name(backend: Backend, method: str) -> None:
    connection = Connection("weather", {"url": backend.url})
    assert getattr(connection, method)("/status/202").status_code == 202


def test_bodies_stream(backend: Backend) -> None:
    connection = Connection("weather", {"url": backend.url})
    with connection.stream("GET", "/weather") as response:
        assert b"/weather" in b"".join(response.iter_bytes())

    async def download() -> bytes:
        async with AsyncConnection.like(connection).stream("GET", "/weather") as response:
            return b"".join([chunk async for chunk in response.aiter_bytes()])

    assert b"/weather" in asyncio.run(download())


def test_forms_stay_forms(backend: Backend, call: Form) -> None:
    call({"url": backend.url}, "POST", "/form", data={"a": "b"})
    [(_, headers, body)] = backend.paths("/form")
    assert (headers["Content-Type"], body) == ("application/x-www-form-urlencoded", b"a=b")


ODD_PATHS: list[Any] = [
    "//evil.example/", "/\\evil.example", "evil.example", "@evil.example", ".evil.example", ":80/", "",
    " /api", "/a b", "/a\nb", "/a\x00", "?a", "#a", None, 7, b"/api", ["/api"], "ftp://evil.example",
    "HTTP://evil.example", "/" + "a" * 70_000, "/..", "/../admin", "/a/../../admin", "/a/./b", "/a/..?b",
    "/a/%2e%2E/admin", "/a/.%2e", "/a/..%2fadmin", "/a%2F..%5Cadmin", "/a/..;x/admin", "/a/..%3bx",
]  # fmt: skip


def test_a_path_that_could_name_another_host_is_refused_before_anything_is_sent(backend: Backend) -> None:
    connection = Connection("weather", {"url": backend.url})
    for path in ODD_PATHS:
        with pytest.raises(ValueError, match="path"):
            connection.get(path)
    assert backend.seen == []


@pytest.mark.parametrize(
    "path", ["/a..b", "/...", "/.well-known/x", "/a.", "/a?next=/../b", "/a/..b/%2f", "/%252e"]
)
def test_dots_within_a_name_or_a_query_lead_nowhere(backend: Backend, path: str) -> None:
    assert Connection("weather", {"url": backend.url + "/v1"}).get(path).status_code == 200
    [(target, _, _)] = backend.seen
    assert target == "/v1" + path


def test_a_whole_url_is_of_the_same_origin(backend: Backend, call: Form) -> None:
    definition = {"url": backend.url + "/v1", "auth": {"kind": "bearer", "token": REFERENCE}}
    assert call(definition, "GET", backend.url + "/v1/next?page=2").json()["query"] == {"page": "2"}
    seen = len(backend.seen)
    port = int(backend.url.rpartition(":")[2])
    with running_backend() as other:
        for url in (
            other.url + "/next",
            f"http://localhost:{port}/next",
            f"https://127.0.0.1:{port}/next",
            "http://127.0.0.1/next",
            f"{backend.url}@evil.example/",
            f"http://u:p@127.0.0.1:{port}/next",
            f"{backend.url}\\@evil.example/",
            f"{backend.url}/v1/../admin",
            f"{backend.url}/v1/%2e%2e/admin",
            "http://",
            "http://[::1",
        ):
            with pytest.raises(ValueError, match=r"origin|URL|user name"):
                call(definition, "GET", url)
        assert other.seen == []
    assert len(backend.seen) == seen


def test_a_redirect_is_not_followed(backend: Backend, call: Form) -> None:
    definition = {"url": backend.url, "auth": {"kind": "bearer", "token": REFERENCE}}
    with running_backend() as other:
        for status in (301, 302, 303, 307, 308):
            path = f"/status/{status}?Location={other.url}/x"
            response = call(definition, "GET", path, follow_redirects=True)
            assert (response.status_code, response.headers["Location"]) == (status, f"{other.url}/x")
            with pytest.raises(ConnectionMisconfigured) as raised:
                response.raise_for_status()
            assert (raised.value.answer, raised.value.code) == (response, 502)
        assert call(definition, "GET", "/status/304").raise_for_status().status_code == 304
        assert other.seen == []


@pytest.mark.parametrize(
    ("path", "error", "attributes"),
    [
        ("/status/400", ConnectionRefused, {"status": 400, "code": 502}),
        ("/status/401", ConnectionRefused, {"status": 401, "code": 502}),
        ("/status/404", ConnectionRefused, {"status": 404, "code": 502}),
        ("/status/429?Retry-After=7", ConnectionRateLimited, {"retry_after": 7, "code": 503}),
        ("/status/500", ConnectionUnavailable, {"status": 500, "code": 503}),
        ("/status/503?Retry-After=60", ConnectionUnavailable, {"status": 503, "retry_after": 60}),
    ],
)
def test_errors_tell_4xx_and_5xx_apart(
    backend: Backend, call: Form, path: str, error: type[ConnectionFailed], attributes: dict[str, Any]
) -> None:
    response = call({"url": backend.url, "retries": 0}, "GET", path)
    with pytest.raises(error) as raised:
        response.raise_for_status()
    assert {name: getattr(raised.value, name) for name in attributes} == attributes
    assert raised.value.connection == "weather"
    assert "'weather'" in raised.value.detail


def test_what_fails_in_passing_is_sent_again_as_the_definition_says(backend: Backend, call: Form) -> None:
    for retries in (0, 2):
        backend.seen.clear()
        assert call({"url": backend.url, "retries": retries}, "GET", "/status/503").status_code == 503
        assert len(backend.seen) == retries + 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://nothing.invalid.localhost:9"])
def test_no_answer_is_a_typed_error(call: Form, url: str) -> None:
    with pytest.raises(ConnectionUnavailable, match="'weather'") as raised:
        call({"url": url, "timeout": 2, "retries": 0}, "GET", "/")
    assert raised.value.status is None


def test_one_call_more_than_the_pool_is_refused_at_once(backend: Backend) -> None:
    connection = Connection("weather", {"url": backend.url, "pool": 1})
    with connection.stream("GET", "/a"), pytest.raises(ConnectionUnavailable, match="Too many"):
        connection.get("/b")
    assert connection.get("/b").status_code == 200


def test_a_certificate_authority_of_the_definition_is_believed_and_no_other(
    backend: Backend, tmp_path: Any, call: Form
) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_tls)
    server = make_server("127.0.0.1", 0, backend.app, threaded=True, ssl_context=server_tls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    url = f"https://127.0.0.1:{server.server_port}"
    try:
        assert call({"url": url, "verify": str(bundle)}, "GET", "/a").status_code == 200
        assert call({"url": url, "verify": False}, "GET", "/a").status_code == 200
        seen = len(backend.seen)
        stranger.cert_pem.write_to_path(bundle)
        for verify in (True, str(bundle)):
            with pytest.raises(ConnectionUnavailable):
                call({"url": url, "verify": verify, "retries": 0}, "GET", "/a")
        assert len(backend.seen) == seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
