"""``python -m benchmarks fuzz``: strange requests at every route of the example app.

Two sources: hypothesis builds requests of its own (paths, methods, headers, bodies, and tokens that are
mutations of right ones), schemathesis reads ``/swagger.json``. No answer may be 5xx, nobody may be let
in, and what the platform has proven must stand unchanged at the end.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import secrets
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
from example_app.extensions import db
from example_app.posts import Post
from example_app.sessions.tokens import start_session
from example_app.users import User
from example_app.users.passwords import hash_password
from flask_orbro.installation import Organization
from flask_orbro.protocol import WEBHOOK_ISSUER
from flask_orbro.simulator import SimulatorServer
from flask_orbro.simulator.backends import entra_token
from flask_orbro.state import get_state

from .errors import BenchmarkError
from .options import Options

REQUESTS = 100_000
SECRET = "a-client-secret-for-fuzzing-0123456789"
PASSWORD = "a password for fuzzing"
#: Every route that needs a credential, with its methods: whoever gets a 2xx there was let in.
GUARDED = (
    *(("GET", f"/platform/{name}") for name in ("me", "app", "open", "users")),
    *(
        ("POST", path)
        for path in ("/webhook/device", "/posts", "/user/refresh", "/user/logout", "/user/auth")
    ),
    *(("GET", path) for path in ("/weather", "/patients/example-1", "/summary")),
    *(("GET", path) for path in ("/graph/profile", "/graph/messages")),
    *(("POST", path) for path in ("/notes", "/graph/messages/send")),
    *(("PUT", "/post/1"), ("DELETE", "/post/1"), ("GET", "/tests/secret")),
)
#: Every route; other methods are drawn too.
TARGETS = (
    *GUARDED,
    *(("GET", path) for path in ("/connect.json", "/healthz", "/swagger.json", "/posts", "/post/1")),
    *(("POST", path) for path in ("/installed", "/uninstalled", "/enabled", "/disabled", "/users")),
)
#: Characters that something on the way may not take: a database no NUL, an encoding no half character.
ODD = "\0\ud800\udfff\x1f\x7f\ufeff\u202e\U0010ffffA"
#: How keys begin that are no secrets to sign with, and that a library refuses.
KEYS = (
    "ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256", "-----BEGIN PUBLIC KEY-----",
    "-----BEGIN CERTIFICATE-----", "-----BEGIN RSA PRIVATE KEY-----", "-----BEGINPUBLICKEY-----",
)  # fmt: skip
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


class Failed(BenchmarkError):
    """A request was answered as none may be."""


@dataclass
class World:
    """The app under fire, its platform, and what was answered so far."""

    app: Flask
    simulator: SimulatorServer
    proven: Organization
    tokens: dict[str, str]
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
        guarded = (method, _NUMBER.sub("/post/1", path)) in GUARDED
        if status < 300 and guarded and not self._is_right(authorization):
            raise Failed(f"{method} {path} let somebody in with {authorization!r}")

        if status < 300 and path == "/user/logout":
            self.log_in()

    def _is_right(self, authorization: str | None) -> bool:
        if authorization is None:
            return False
        return authorization == self.basic or _meaning(authorization) in map(_meaning, self.tokens.values())

    @property
    def basic(self) -> str:
        """The account's name and password, as HTTP Basic sends them."""
        return "Basic " + base64.b64encode(f"ada:{PASSWORD}".encode()).decode()

    def write_post(self) -> int:
        """:returns: the id of a new post of the account."""
        with self.app.app_context():
            post = Post(author_id="ada", title="A title", body="A body.")
            db.session.add(post)
            db.session.commit()
            return post.id

    def log_in(self) -> None:
        """Start another session: whoever logs out ends the last one."""
        with self.app.app_context():
            user = db.session.get(User, "ada")
            assert user is not None
            self.tokens |= start_session(user)

    def check_trust(self) -> None:
        """:raises Failed: where something that was proven has changed, or anybody else is trusted."""
        found = [item for item in get_state(self.app).organizations.all() if item.is_active]
        trusted = [(item.organization_id, item.shared_secret, item.bound_subdomain) for item in found]
        if trusted != [(self.proven.organization_id, self.proven.shared_secret, self.proven.bound_subdomain)]:
            raise Failed(f"Trust has changed: {found}")


_NUMBER = re.compile(r"^/post/\d+$")


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
        backends = f"{simulator.url}/backends"
        app = create_app(
            {
                "WEATHER_URL": backends,
                "NOTES_URL": backends,
                "EHR_URL": f"{backends}/fhir",
                "OAUTH_TOKEN_URL": f"{backends}/oauth/token",
                "SIDECAR_URL": f"{backends}/sidecar",
                "TESTING": False,
                "ORBRO_CLIENT_ID": "fuzz",
                "ORBRO_CLIENT_SECRET": SECRET,
                "JWT_SECRET_KEY": secrets.token_urlsafe(32),
                "PASSWORD_ROUNDS": 4,
                "ATTEMPTS_PER_ADDRESS": "1000000 per second",
                "ATTEMPTS_PER_ACCOUNT": "1000000 per second",
                "ORBRO_PLATFORM_HOST": simulator.platform_host,
                "ORBRO_PLATFORM_SCHEME": "http",
                "ORBRO_SWEEPER": False,
                "SQLALCHEMY_DATABASE_URI": f"sqlite:///{Path(folder) / 'fuzz.sqlite'}",
            },
            instance_path=folder,
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
        tokens = {
            "orbroUser": platform.user_token("acme"),
            "orbroConnectApp": platform.connect_token("acme"),
            "orbroOpenApi": platform.open_api_token(),
            "entra": entra_token(platform, "acme"),
            "orbroWebhook": platform.webhook_token("acme", expires_in=3500),
        }
        found = World(app, simulator, proven, tokens, f"http://acme.{simulator.platform_host}")
        with app.app_context():
            ada = {"user_id": "ada", "user_email": "ada@example.com"}
            db.session.add(User(**ada, password_hash=hash_password(PASSWORD)))
            db.session.commit()
        found.log_in()
        yield found
        get_state(app).close()


def requests_of(world: World) -> st.SearchStrategy[dict[str, Any]]:
    """Requests, most of them nearly right."""
    text = st.text(max_size=60) | st.text(st.sampled_from(ODD), max_size=5)
    key = st.builds(
        "".join,
        st.tuples(st.sampled_from(KEYS), st.sampled_from(["", " ", "\n"]), st.text("A/+=", max_size=60)),
    )
    header_text = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=60)
    claims = st.dictionaries(
        st.sampled_from(["iss", "sub", "issued_by", "exp", "iat", "nbf", "data", "x"]),
        st.none() | st.booleans() | st.integers() | st.floats() | text | st.lists(text, max_size=2),
        max_size=6,
    )
    # All right but for whom it speaks of, and signed by the organization itself.
    strangers = st.builds(
        lambda kind, name: {"issued_by": WEBHOOK_ISSUER, "sub": kind + name, "exp": int(time.time()) + 60},
        st.sampled_from(["organizationId:", "uuid:", ""]),
        text,
    )
    forged = st.builds(
        lambda body, key: jwt.PyJWS().encode(json.dumps(body).encode(), key, algorithm="HS256"),
        claims | strangers,
        st.sampled_from(["k" * 40, SECRET, world.proven.shared_secret or ""]),
    )
    right = st.sampled_from(sorted(world.tokens)).map(world.tokens.__getitem__)
    cut = st.builds(
        lambda token, at, put: token[:at] + put + token[at + 1 :],
        right,
        st.integers(0, 400),
        st.sampled_from(["", "A", ".", "=", "-"]),
    )
    token = forged | cut | right | header_text
    authorization = st.builds(
        "{}{}".format, st.sampled_from(["Bearer ", "bearer ", "Bearer", "Basic ", ""]), token
    )
    organization = st.sampled_from(
        [world.origin, world.origin + "/", world.origin.upper(), "https://acme.evil.example", "acme", ""]
    )
    member = st.sampled_from(
        [
            *("organization_id", "shared_secret", "user_id", "subdomain", "x"),
            *("user_email", "user_password", "author_id", "title", "body", "text", "to", "subject"),
        ]
    )
    known: st.SearchStrategy[Any] = st.sampled_from(
        [world.proven.organization_id, "acme", "o-1", "s" * 40, "ada", "ada@example.com", None, 1, [], {}]
    )
    document = st.dictionaries(member, known | text | key, max_size=5)
    install = st.fixed_dictionaries(
        {"organization_id": known | text, "shared_secret": key | known | text},
        optional={"user_id": known | text, "subdomain": known | text},
    )
    body = st.builds(
        lambda value, escaped: json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass"),
        document | install | st.lists(text, max_size=2) | text | st.none(),
        st.booleans(),
    )
    paths = st.sampled_from([path for _, path in TARGETS] + ["/docs", "/nothing", "/%00", "/%ed%a0%80"])
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
    query = {} if drawn["origin"] is None else {"origin": drawn["origin"].encode("utf-8", "surrogatepass")}
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


def run(options: Options) -> str:
    """:returns: the report.
    :raises Failed: where a request was answered as none may be.
    """
    began = time.monotonic()
    statuses = fuzz(options.count or REQUESTS)
    lines = [f"{statuses.total()} requests in {time.monotonic() - began:.0f} s, none 5xx, nobody let in.\n"]
    return "\n".join(lines + [f"{status}: {number}" for status, number in sorted(statuses.items())])
