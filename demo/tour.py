"""The round: every route with a right and a wrong credential, as the platform and its users would call."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import click
import httpx2
import jwt

from .person import Person

ORGANIZATION = "acme"
EVENT = "device:device_updated"
_READING = {"profile_id": "Fixed.UWB.Anchor"}


class Tour:
    """Goes round the running app and tells of each step as it happens.

    :param app_url: where the app runs.
    :param platform_url: where the simulator's control API is.
    :param client_id: of the app.
    """

    def __init__(self, app_url: str, platform_url: str, client_id: str) -> None:
        self.steps = 0
        self.surprises = 0
        self._app_url = app_url
        self._client_id = client_id
        # Both run on this machine: a proxy of the environment has no business here.
        self._app = httpx2.Client(base_url=app_url, timeout=10, trust_env=False)
        self._platform = httpx2.Client(base_url=platform_url, timeout=15, trust_env=False)
        self._origin = ""
        self._organization_id = ""

    def __enter__(self) -> Tour:
        return self

    def __exit__(self, *_error: object) -> None:
        self._app.close()
        self._platform.close()

    def go(self) -> bool:
        """:returns: whether every step was as expected."""
        self._public_routes()
        self._account()
        self._install()
        self._routes()
        self._backends()
        self._webhooks()
        self._trust()
        self._come_and_go()
        return self.surprises == 0

    def _public_routes(self) -> None:
        _headline("What anybody may read")
        for path in ("/healthz", "/connect.json", "/swagger.json", "/docs"):
            self._step(f"GET {path}", 200, self._call, "GET", path)

    def _account(self) -> None:
        _headline("Somebody registers, logs in, writes and logs out")
        ada = Person(self._app)
        self._step("POST /users", 201, ada.register)
        self._step("POST /users, again", 409, ada.register)
        self._step("GET /tests/secret, no token", 401, ada.secret)
        self._step("POST /user/auth, another password", 401, ada.log_in, "not hers")
        self._step("POST /user/auth, HTTP Basic", 200, ada.log_in)
        self._step("GET /tests/secret, her token", 200, ada.secret)
        self._step("POST /posts", 201, ada.write, "First")
        self._step("GET /posts, shows it", 200, ada.sees, "First")
        self._step("PUT the post", 200, ada.change, "Second")
        self._step("GET /posts, shows the change", 200, ada.sees, "Second")
        self._step("POST /user/logout", 204, ada.log_out)
        self._step("GET /tests/secret, her token", 401, ada.secret)

    def _install(self) -> None:
        _headline(f"The organization {ORGANIZATION} installs the app")
        self._step("POST /installed, nonsense", 400, self._call, "POST", "/installed", json={})
        self._step("the platform installs it", 200, self._drive, "install")
        state = self._platform.get("/simulator/state").json()
        found = [row for row in state["organizations"] if row["subdomain"] == ORGANIZATION]
        self._organization_id = found[0]["id"] if found else ""

    def _routes(self) -> None:
        _headline("Each route, with the right credential and with a wrong one")
        user, connect, open_api = (self._token(kind) for kind in ("user", "connect", "open-api"))
        for path, kind, right, wrong in (
            ("/platform/me", "user", user, open_api),
            ("/platform/app", "connect-app", connect, user),
            ("/platform/open", "Open API", open_api, user),
            ("/platform/users", "user", user, connect),
        ):
            self._step(f"GET {path}, {kind} token", 200, self._call, "GET", path, right)
            self._step(f"GET {path}, another kind", 401, self._call, "GET", path, wrong)
            self._step(f"GET {path}, no token", 401, self._call, "GET", path)
        elsewhere = {"origin": "https://acme.attacker.example"}
        self._step(
            "GET /platform/me, a foreign origin",
            400,
            self._call,
            "GET",
            "/platform/me",
            user,
            params=elsewhere,
        )

    def _backends(self) -> None:
        _headline("Other back ends (here: stand-ins of the simulator), with credentials that the app keeps")
        user, entra = self._token("user"), self._token("entra")
        note, mail = {"text": "Call the clinic."}, {"to": "ada@example.com", "subject": "Hi", "text": "Hello"}
        for method, path, body in (
            ("GET", "/weather?city=Seoul", None),
            ("POST", "/notes", note),
            ("GET", "/patients/example-1", None),
            ("GET", "/summary", None),
        ):
            status = 201 if method == "POST" else 200
            self._step(f"{method} {path}, user token", status, self._of_user, method, path, user, body)
            self._step(f"{method} {path}, no token", 401, self._of_user, method, path, None, body)
        for method, path, body in (
            ("GET", "/graph/profile", None),
            ("GET", "/graph/messages", None),
            ("POST", "/graph/messages/send", mail),
        ):
            status = 202 if method == "POST" else 200
            self._step(f"{method} {path}, Entra token", status, self._call, method, path, entra, json=body)
            self._step(f"{method} {path}, user token", 401, self._call, method, path, user, json=body)

    def _webhooks(self) -> None:
        _headline("The platform sends webhooks")
        self._step("POST /webhook/device", 200, self._webhook)
        self._step("POST /webhook/device, forged", 401, self._webhook, token=self._forged())
        self._step("POST /webhook/device, no token", 401, self._deliver, None)
        once = {"path": "/webhook/events", "token": self._token("webhook")}
        self._step("POST /webhook/events: kept, handled afterwards", 202, self._webhook, **once)
        self._step("POST /webhook/events, the same once more", 202, self._webhook, **once)
        self._step(
            "POST /webhook/events, forged", 401, self._webhook, path="/webhook/events", token=self._forged()
        )
        self._step("GET /webhook/changes: handled once", 200, self._changes, 1)

    def _trust(self) -> None:
        _headline("Somebody else claims to be the platform")
        claimed = secrets.token_urlsafe(32)
        claim = {
            "organization_id": self._organization_id,
            "shared_secret": claimed,
            "subdomain": ORGANIZATION,
        }
        self._step(
            "POST /installed, a claim: received, not believed",
            200,
            self._call,
            "POST",
            "/installed",
            json=claim,
        )
        self._step(
            "POST /webhook/device, with the claimed secret",
            401,
            self._deliver,
            self._forged(claimed),
        )
        gone = {"organization_id": self._organization_id}
        self._step(
            "POST /uninstalled: received, not believed",
            200,
            self._call,
            "POST",
            "/uninstalled",
            json=gone,
        )
        self._step("POST /webhook/device, as before", 200, self._webhook)
        self._step("GET /platform/me, as before", 200, self._me)

    def _come_and_go(self) -> None:
        _headline("The organization comes and goes")
        self._step("the platform rotates the secret", 200, self._drive, "install")
        self._step("POST /webhook/device, new secret", 200, self._webhook)
        self._step("GET /platform/users, new secret", 200, self._users)
        self._step("the platform disables the app", 200, self._drive, "disable")
        self._step("the platform enables the app", 200, self._drive, "enable")
        self._step("the platform uninstalls the app", 200, self._drive, "uninstall")
        self._step("POST /webhook/device, uninstalled", 401, self._webhook, force=True)
        self._step("GET /platform/me, uninstalled", 401, self._me)
        self._step("the platform installs it again", 200, self._drive, "install")
        self._step("POST /webhook/device, again", 200, self._webhook)
        self._step("GET /platform/users, again", 200, self._users)

    def _step(self, what: str, expected: int, act: Callable[..., int], *args: Any, **options: Any) -> None:
        self.steps += 1
        try:
            status = act(*args, **options)
            answer = str(status)
        except httpx2.HTTPError as error:
            status, answer = 0, f"no answer ({type(error).__name__})"
        good = status == expected
        self.surprises += not good
        mark = _mark(good)
        click.echo(f"  {mark} {answer}  {what}" + ("" if good else f"   (expected {expected})"))

    def _call(self, method: str, path: str, token: str | None = None, **options: Any) -> int:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        options.setdefault("params", {"origin": self._origin} if path.startswith("/platform/") else {})
        return self._app.request(method, path, headers=headers, **options).status_code

    def _of_user(self, method: str, path: str, token: str | None, body: Any) -> int:
        path, _, query = path.partition("?")
        params = dict(parse_qsl(query)) | {"origin": self._origin}
        return self._call(method, path, token, params=params, json=body)

    def _me(self) -> int:
        return self._call("GET", "/platform/me", self._token("user"))

    def _users(self) -> int:
        return self._call("GET", "/platform/users", self._token("user"))

    def _changes(self, expected: int) -> int:
        """:returns: 200 once so many deliveries have been handled, 404 where they are not."""
        for _ in range(100):
            headers = {"Authorization": f"Bearer {self._token('user')}"}
            answer = self._app.get("/webhook/changes", headers=headers, params={"origin": self._origin})
            if answer.status_code != 200 or len(answer.json()) == expected:
                return answer.status_code
            time.sleep(0.05)
        return 404

    def _deliver(self, token: str | None) -> int:
        """A delivery that does not come from the platform."""
        return self._call("POST", "/webhook/device", token, json={"event_name": EVENT, "data": _READING})

    def _webhook(self, **options: Any) -> int:
        return self._drive("webhook", event=EVENT, data=_READING, **options)

    def _forged(self, secret: str | None = None) -> str:
        claims = {
            "issued_by": "meta-platform-webhook",
            "sub": f"organizationId:{self._organization_id}",
            "exp": int(time.time()) + 300,
        }
        return jwt.encode(claims, secret or secrets.token_urlsafe(32), algorithm="HS256")

    def _drive(self, what: str, **fields: Any) -> int:
        """Have the platform call the app.

        :returns: the app's answer, or the simulator's own refusal.
        """
        body = {"organization": ORGANIZATION, "app_url": self._app_url, **fields}
        if what == "install":
            body["client_id"] = self._client_id
        response = self._platform.post(f"/simulator/{what}", json=body)
        return int(response.json()["status"]) if response.status_code == 200 else response.status_code

    def _token(self, kind: str) -> str:
        body = {"kind": kind, "organization": ORGANIZATION, "app_url": self._app_url}
        answer = self._platform.post("/simulator/tokens", json=body).raise_for_status().json()
        if kind == "user":
            self._origin = answer["origin"]
        return str(answer["token"])


def _headline(text: str) -> None:
    click.echo(f"\n{text}")


def _mark(good: bool) -> str:
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        "✓✗".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return "ok  " if good else "FAIL"
    return "✓" if good else "✗"
