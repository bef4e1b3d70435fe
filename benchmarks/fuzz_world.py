"""The example app under fire: what is right there, and a judge of every answer."""

from __future__ import annotations

import base64
import re
import secrets
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import Flask
from werkzeug.datastructures import Headers
from werkzeug.serving import make_server

from example_app import create_app
from example_app.extensions import db
from example_app.posts import Post
from example_app.sessions.tokens import start_session
from example_app.users import User
from example_app.users.passwords import hash_password
from flask_orbro.installation import Organization
from flask_orbro.simulator import SimulatorServer
from flask_orbro.simulator.backends import entra_token
from flask_orbro.state import get_state

from .errors import BenchmarkError

SECRET = "a-client-secret-for-fuzzing-0123456789"
PASSWORD = "a password for fuzzing"
ORGANIZATIONS = ("acme", "globex")
#: Kinds of credentials that count together with the organization that the request names.
BOUND = ("orbroUser", "orbroConnectApp")
#: Every route that needs a credential, and the kinds it takes: whoever gets a 2xx there was let in.
GUARDED = {
    ("GET", "/platform/me"): ("orbroUser",),
    ("GET", "/platform/users"): ("orbroUser",),
    ("GET", "/weather"): ("orbroUser",),
    ("GET", "/patients/example-1"): ("orbroUser",),
    ("GET", "/summary"): ("orbroUser",),
    ("POST", "/notes"): ("orbroUser",),
    ("GET", "/platform/app"): ("orbroConnectApp",),
    ("GET", "/platform/open"): ("orbroOpenApi",),
    ("POST", "/webhook/device"): ("orbroWebhook",),
    ("POST", "/webhook/events"): ("orbroWebhook",),
    ("GET", "/graph/profile"): ("entra",),
    ("GET", "/graph/messages"): ("entra",),
    ("POST", "/graph/messages/send"): ("entra",),
    ("POST", "/posts"): ("access_token",),
    ("PUT", "/post/1"): ("access_token",),
    ("DELETE", "/post/1"): ("access_token",),
    ("GET", "/tests/secret"): ("access_token",),
    ("POST", "/user/logout"): ("access_token", "refresh_token"),
    ("POST", "/user/refresh"): ("refresh_token",),
    ("POST", "/user/auth"): ("basic",),
}
_NUMBER = re.compile(r"^/post/\d+$")


class Failed(BenchmarkError):
    """A request was answered as none may be."""


@dataclass
class World:
    """The app under fire, its platform, and what was answered so far.

    :param tokens: of ``ada`` and of ``acme``, by kind.
    :param others: of ``globex``, by kind.
    """

    app: Flask
    simulator: SimulatorServer
    proven: dict[str, Organization]
    tokens: dict[str, str]
    others: dict[str, str]
    statuses: Counter[int] = field(default_factory=Counter)
    let_in: Counter[tuple[str, str]] = field(default_factory=Counter)

    def origin(self, organization: str) -> str:
        return f"http://{organization}.{self.simulator.platform_host}"

    def send(self, method: str, path: str, headers: Headers, **options: Any) -> None:
        response = self.app.test_client().open(path, method=method, headers=headers, **options)
        query = options["query_string"]
        self.judge(method, path, response.status_code, headers, query.get("origin"))

    def judge(
        self, method: str, path: str, status: int, headers: Headers | dict[str, str], origin: object
    ) -> None:
        """:raises Failed: where an answer is 5xx, or lets somebody in."""
        self.statuses[status] += 1
        if status >= 500:
            raise Failed(f"{method} {path} was answered {status}")
        route = (method, _NUMBER.sub("/post/1", path))
        kinds = GUARDED.get(route, ())
        if status >= 300 or not kinds:
            return
        shown = headers.get("Authorization"), headers.get("sub"), origin
        if not any(self._is_right(kind, *shown) for kind in kinds):
            raise Failed(f"{method} {path} let somebody in with {dict(headers)!r}, origin {origin!r}")
        self.let_in[route] += 1
        if path == "/user/logout":
            self.log_in()
        if method == "DELETE":
            self.write_post(int(path.rpartition("/")[2]))

    def _is_right(self, kind: str, authorization: str | None, sub: str | None, origin: object) -> bool:
        if kind == "basic":
            return authorization == self.basic
        shown = _meaning(authorization or "")
        if shown == _meaning(self.tokens[kind]):
            owner = "acme"
        elif shown == _meaning(self.others.get(kind, "")):
            owner = "globex"
        else:
            return False
        if kind not in BOUND:
            return True
        named = origin.decode("utf-8", "surrogatepass") if isinstance(origin, bytes) else origin
        # The origin wins where both come. Names of hosts have no case.
        return str(named).lower() == self.origin(owner) if named is not None else str(sub).lower() == owner

    @property
    def basic(self) -> str:
        """The account's name and password, as HTTP Basic sends them."""
        return "Basic " + base64.b64encode(f"ada:{PASSWORD}".encode()).decode()

    def write_post(self, id: int | None = None) -> int:
        """:returns: the id of a new post of the account."""
        with self.app.app_context():
            post = Post(id=id, author_id="ada", title="A title", body="A body.")
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

        def trust(organizations: list[Organization]) -> set[tuple[str | None, ...]]:
            return {
                (item.organization_id, item.shared_secret, item.bound_subdomain) for item in organizations
            }

        found = [item for item in get_state(self.app).organizations.all() if item.is_active]
        if trust(found) != trust(list(self.proven.values())):
            raise Failed(f"Trust has changed: {found}")

    def check_everybody_came_in(self) -> None:
        """:raises Failed: where nobody got past the guard of a route, so that it was not tried at all."""
        missing = [route for route in GUARDED if not self.let_in[route]]
        if missing:
            raise Failed(f"No right request reached {missing}: the round tells nothing of them")


def _trust(of: Organization) -> tuple[str | None, ...]:
    return of.organization_id, of.shared_secret, of.bound_subdomain


def _meaning(token: str) -> tuple[str, bytes]:
    """What is signed, and the signature: the last character of one can be written in several ways."""
    signed, _, signature = token.removeprefix("Bearer ").rpartition(".")
    try:
        return signed, base64.urlsafe_b64decode(signature + "===")
    except ValueError:
        return signed, signature.encode()


@contextmanager
def world() -> Iterator[World]:
    """An app whose platform has installed it for two organizations, with ``TESTING`` off."""
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
            for name in ORGANIZATIONS:
                simulator.platform.install(f"http://127.0.0.1:{server.server_port}", name)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
        found = World(app, simulator, _proven(app), _tokens(simulator, "acme"), _tokens(simulator, "globex"))
        with app.app_context():
            ada = {"user_id": "ada", "user_email": "ada@example.com"}
            db.session.add(User(**ada, password_hash=hash_password(PASSWORD)))
            db.session.commit()
        found.log_in()
        found.write_post(1)
        yield found
        get_state(app).close()


def _proven(app: Flask) -> dict[str, Organization]:
    found = {name: get_state(app).organizations.bound_to(name) for name in ORGANIZATIONS}
    proven = {name: organization for name, organization in found.items() if organization is not None}
    if len(proven) != len(ORGANIZATIONS):
        raise Failed("The installs were not proven.")
    return proven


def _tokens(simulator: SimulatorServer, organization: str) -> dict[str, str]:
    platform = simulator.platform
    return {
        "orbroUser": platform.user_token(organization),
        "orbroConnectApp": platform.connect_token(organization),
        "orbroOpenApi": platform.open_api_token(),
        "entra": entra_token(platform, organization),
        "orbroWebhook": platform.webhook_token(organization, expires_in=3500),
    }
