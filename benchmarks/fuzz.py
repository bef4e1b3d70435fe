"""``python -m benchmarks.fuzz``: strange requests at every route of the example app.

Two sources: hypothesis builds requests of its own (paths, methods, headers, bodies, and tokens that are
mutations of right ones), schemathesis reads ``/swagger.json``. No answer may be 5xx, nobody may be let
in, and what the platform has proven must stand unchanged at the end.
"""

from __future__ import annotations

import argparse
import base64
import json
import logging
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import Headers
from werkzeug.serving import make_server

from example_app import create_app
from flask_orbro.installation import Organization
from flask_orbro.simulator import SimulatorServer
from flask_orbro.state import get_state

SECRET = "a-client-secret-for-fuzzing-0123456789"
#: Routes that need a credential: whoever gets a 2xx there was let in.
GUARDED = ("/platform/me", "/platform/app", "/platform/open", "/platform/users", "/webhook/device")
#: Every route with its method; other methods are drawn too.
TARGETS = (
    *(("GET", path) for path in GUARDED[:-1]),
    *(("GET", path) for path in ("/connect.json", "/healthz", "/swagger.json")),
    *(("POST", path) for path in ("/webhook/device", "/installed", "/uninstalled", "/enabled", "/disabled")),
)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


class Failed(Exception):
    """A request was answered as none may be."""


@dataclass
class World:
    """The app under fire, its platform, and what was answered so far."""

    app: Flask
    simulator: SimulatorServer
    proven: Organization
    tokens: list[str]
    origin: str
    statuses: Counter[int] = field(default_factory=Counter)

    def send(self, method: str, path: str, headers: Headers, **options: Any) -> None:
        response = self.app.test_client().open(path, method=method, headers=headers, **options)
        self.judge(method, path, response.status_code, headers.get("Authorization"))

    def judge(self, method: str, path: str, status: int, authorization: str | None) -> None:
        """:raises Failed: where an answer is 5xx, or lets somebody in."""
        self.statuses[status] += 1
        if status >= 500:
            raise Failed(f"{method} {path} was answered {status}")
        right = authorization is not None and _meaning(authorization) in map(_meaning, self.tokens)
        if status < 300 and method != "OPTIONS" and path.startswith(GUARDED) and not right:
            raise Failed(f"{method} {path} let somebody in with {authorization!r}")

    def check_trust(self) -> None:
        """:raises Failed: where something that was proven has changed, or anybody else is trusted."""
        found = [item for item in get_state(self.app).organizations.all() if item.is_active]
        trusted = [(item.organization_id, item.shared_secret, item.bound_subdomain) for item in found]
        if trusted != [(self.proven.organization_id, self.proven.shared_secret, self.proven.bound_subdomain)]:
            raise Failed(f"Trust has changed: {found}")


def _meaning(token: str) -> tuple[str, bytes]:
    """What is signed, and the signature: the last character of one can be written in several ways."""
    signed, _, signature = token.removeprefix("Bearer ").rpartition(".")
    try:
        return signed, base64.urlsafe_b64decode(signature + "===")
    except ValueError:
        return signed, signature.encode()


@contextmanager
def world() -> Iterator[World]:
    """An app whose platform has installed it for ``acme``, with ``TESTING`` off."""
    with tempfile.TemporaryDirectory() as folder, SimulatorServer() as simulator:
        app = create_app(
            {
                "TESTING": False,
                "ORBRO_CLIENT_ID": "fuzz",
                "ORBRO_CLIENT_SECRET": SECRET,
                "ORBRO_PLATFORM_HOST": simulator.platform_host,
                "ORBRO_PLATFORM_SCHEME": "http",
                "ORBRO_SWEEPER": False,
                "SQLALCHEMY_DATABASE_URI": f"sqlite:///{Path(folder) / 'fuzz.sqlite'}",
            }
        )
        server = make_server("127.0.0.1", 0, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            simulator.platform.install(f"http://127.0.0.1:{server.server_port}", "acme")
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
        platform = simulator.platform
        proven = get_state(app).organizations.bound_to("acme")
        if proven is None:
            raise Failed("The install was not proven.")
        tokens = [
            platform.user_token("acme"),
            platform.connect_token("acme"),
            platform.open_api_token(),
            platform.webhook_token("acme"),
        ]
        yield World(app, simulator, proven, tokens, f"http://acme.{simulator.platform_host}")
        get_state(app).close()


def requests_of(world: World) -> st.SearchStrategy[dict[str, Any]]:
    """Requests, most of them nearly right."""
    text = st.text(max_size=60)
    header_text = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=60)
    claims = st.dictionaries(
        st.sampled_from(["iss", "sub", "issued_by", "exp", "iat", "nbf", "data", "x"]),
        st.none() | st.booleans() | st.integers() | st.floats() | text | st.lists(text, max_size=2),
        max_size=6,
    )
    forged = st.builds(
        lambda body, key: jwt.PyJWS().encode(json.dumps(body).encode(), key, algorithm="HS256"),
        claims,
        st.sampled_from(["k" * 40, SECRET]),
    )
    cut = st.builds(
        lambda token, at, put: token[:at] + put + token[at + 1 :],
        st.sampled_from(world.tokens),
        st.integers(0, 400),
        st.sampled_from(["", "A", ".", "=", "-"]),
    )
    token = forged | cut | st.sampled_from(world.tokens) | header_text
    authorization = st.builds(
        "{}{}".format, st.sampled_from(["Bearer ", "bearer ", "Bearer", "Basic ", ""]), token
    )
    organization = st.sampled_from(
        [world.origin, world.origin + "/", world.origin.upper(), "https://acme.evil.example", "acme", ""]
    )
    member = st.sampled_from(["organization_id", "shared_secret", "user_id", "subdomain", "x"])
    known: st.SearchStrategy[Any] = st.sampled_from(
        [world.proven.organization_id, "acme", "o-1", "s" * 40, None, 1, [], {}]
    )
    document = st.dictionaries(member, known | text, max_size=5)
    body = st.builds(json.dumps, document | st.lists(text, max_size=2) | text | st.none()).map(str.encode)
    paths = st.sampled_from([path for _, path in TARGETS] + ["/docs", "/nothing", "/%00"])
    return st.fixed_dictionaries(
        {
            "target": st.sampled_from(TARGETS) | st.tuples(st.sampled_from(METHODS), paths),
            "authorization": st.none() | authorization,
            "sub": st.none() | header_text | organization,
            "origin": st.none() | text | organization,
            "type": st.sampled_from(["application/json", "text/plain", "application/problem+json", ""]),
            "body": body | st.binary(max_size=200),
        }
    )


def send(world: World, drawn: dict[str, Any]) -> None:
    """Send one drawn request."""
    headers = Headers()
    for name, value in (("Authorization", drawn["authorization"]), ("sub", drawn["sub"])):
        if value is not None and not set(value) & set("\r\n\0"):
            headers[name] = value
    if drawn["type"]:
        headers["Content-Type"] = drawn["type"]
    query = {} if drawn["origin"] is None else {"origin": drawn["origin"].encode("utf-8", "replace")}
    method, path = drawn["target"]
    world.send(method, path, headers, data=drawn["body"], query_string=query)


def fuzz_with_hypothesis(world: World, count: int) -> None:
    """Send ``count`` requests of our own making."""

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(requests_of(world))
    def run(drawn: dict[str, Any]) -> None:
        send(world, drawn)
        _show(world)

    run()


def fuzz_with_schemathesis(world: World, count: int) -> None:
    """Send about ``count`` requests that the Swagger document suggests, right and wrong ones."""
    schema = schemathesis.openapi.from_wsgi("/swagger.json", world.app)
    operations: list[Any] = [result.ok() for result in schema.get_all_operations()]  # type: ignore[union-attr]
    for operation in operations:
        strategy = operation.as_strategy()

        @settings(
            max_examples=max(1, count // len(operations)),
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def run(case: Any) -> None:
            response = case.call()
            authorization = (case.headers or {}).get("Authorization")
            world.judge(case.method, case.path, response.status_code, authorization)
            _show(world)

        run()


def _show(world: World) -> None:
    done = world.statuses.total()
    if done % 5000 == 0 and sys.stderr.isatty():
        print(f"\r{done} requests", end="", file=sys.stderr, flush=True)


def fuzz(count: int) -> Counter[int]:
    """Send ``count`` requests, a fifth of them by schemathesis.

    :returns: how often each status was answered.
    :raises Failed: where one was answered as none may be.
    """
    logging.disable(logging.CRITICAL)
    try:
        with world() as target:
            fuzz_with_schemathesis(target, count // 5)
            while (left := count - target.statuses.total()) > 0:
                fuzz_with_hypothesis(target, left)
            target.check_trust()
            return target.statuses
    finally:
        logging.disable(logging.NOTSET)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    count = parser.parse_args().requests
    began = time.monotonic()
    try:
        statuses = fuzz(count)
    except Failed as failure:
        sys.exit(f"FAILED: {failure}")
    print(f"\n{statuses.total()} requests in {time.monotonic() - began:.0f} s, none 5xx, nobody let in.")
    for status, number in sorted(statuses.items()):
        print(f"  {status}: {number}")


if __name__ == "__main__":
    main()
