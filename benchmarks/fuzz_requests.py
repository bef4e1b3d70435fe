"""What is drawn: requests that are right but for one part, and wild ones."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from typing import Any

import jwt
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from flask_orbro.protocol import WEBHOOK_ISSUER

from .fuzz_world import BOUND, GUARDED, ORGANIZATIONS, SECRET, World

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
#: What a guarded route takes as its body.
BODIES: dict[str, dict[str, Any]] = {
    "/notes": {"text": "Call the clinic."},
    "/graph/messages/send": {"to": "ada@example.com", "subject": "Hello", "text": "Hello."},
    "/posts": {"author_id": "ada", "title": "A title", "body": "A body."},
    "/post/1": {"author_id": "ada", "title": "A title", "body": "A body."},
    "/webhook/device": {"event_name": "device:device_updated", "data": {"profile_id": "Fixed.UWB.Anchor"}},
    "/webhook/events": {"event_name": "device:device_updated", "data": {"profile_id": "Fixed.UWB.Anchor"}},
}


@dataclass(frozen=True)
class Drawn:
    """One request."""

    method: str
    path: str
    authorization: str | None = None
    sub: str | None = None
    origin: str | None = None
    type: str = "application/json"
    body: bytes = b""

    def send(self, world: World) -> None:
        headers = Headers()
        for name, value in (("Authorization", self.authorization), ("sub", self.sub)):
            if value is not None and not set(value) & set("\r\n\0"):
                headers[name] = value
        if self.type:
            headers["Content-Type"] = self.type
        query = {} if self.origin is None else {"origin": self.origin.encode("utf-8", "surrogatepass")}
        world.send(self.method, self.path, headers, data=self.body, query_string=query)


class Requests:
    """Strategies for one world; tokens are looked up when they are drawn, since a log-out changes them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._text = st.text(max_size=60) | st.text(st.sampled_from(ODD), max_size=5)
        self._key = st.builds(
            "".join,
            st.tuples(st.sampled_from(KEYS), st.sampled_from(["", " ", "\n"]), st.text("A/+=", max_size=60)),
        )
        self._header = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=60)
        origins = [world.origin(name) for name in ORGANIZATIONS]
        odd = [origins[0] + "/", origins[0].upper(), "https://acme.evil.example", "acme", "globex", ""]
        self._named = st.sampled_from([*origins, *odd])
        self._token = self._forged() | self._cut() | self._right_token() | self._header
        self._authorization = st.builds(
            "{}{}".format, st.sampled_from(["Bearer ", "bearer ", "Bearer", "Basic ", ""]), self._token
        )
        self._body = self._bodies() | st.binary(max_size=200)
        self._type = st.sampled_from(["application/json", "text/plain", "application/problem+json", ""])

    def wild(self) -> st.SearchStrategy[Drawn]:
        """Anything, anywhere."""
        paths = st.sampled_from([path for _, path in TARGETS] + ["/docs", "/nothing", "/%00", "/%ed%a0%80"])
        targets = st.sampled_from(TARGETS) | st.tuples(st.sampled_from(METHODS), paths)
        return st.builds(
            lambda target, **parts: Drawn(*target, **parts),
            targets,
            authorization=st.none() | self._authorization,
            sub=st.none() | self._header | self._named,
            origin=st.none() | self._text | self._named,
            type=self._type,
            body=self._body,
        )

    def nearly_right(self) -> st.SearchStrategy[Drawn]:
        """Right but for one part, which is now and then right as well."""
        routes = st.sampled_from(sorted(GUARDED))
        right = st.builds(self._right, routes, st.sampled_from(ORGANIZATIONS), st.booleans())
        parts: list[st.SearchStrategy[dict[str, Any]]] = [
            st.just({}),
            # Of another kind or organization: what is most worth a try comes more often.
            *[st.builds(lambda token: {"authorization": f"Bearer {token}"}, self._right_token())] * 3,
            st.builds(lambda token: {"authorization": f"Bearer {token}"}, self._token),
            st.builds(lambda value: {"authorization": value}, st.none() | self._authorization),
            st.builds(lambda value: {"origin": value}, st.none() | self._text | self._named),
            st.builds(lambda value: {"sub": value}, st.none() | self._header | self._named),
            st.builds(lambda value: {"method": value}, st.sampled_from(METHODS)),
            st.builds(lambda value: {"type": value}, self._type),
            st.builds(lambda value: {"body": value}, self._body),
        ]
        return st.builds(lambda drawn, other: replace(drawn, **other), right, st.one_of(parts))

    def _right(self, route: tuple[str, str], owner: str, by_header: bool) -> Drawn:
        world, (kind, *_) = self._world, GUARDED[route]
        if kind == "basic":
            return Drawn(*route, authorization=world.basic)
        tokens = world.others if owner == "globex" and kind in world.others else world.tokens
        body = BODIES.get(route[1])
        named: dict[str, str] = {}
        if kind in BOUND:
            named = {"sub": owner} if by_header else {"origin": world.origin(owner)}
        return Drawn(
            *route,
            authorization=f"Bearer {tokens[kind]}",
            body=b"" if body is None else json.dumps(body).encode(),
            **named,
        )

    def _right_token(self) -> st.SearchStrategy[str]:
        """A right token of whatever kind and organization."""
        world = self._world
        kinds = st.sampled_from(sorted(self._world.tokens))
        return st.builds(
            lambda kind, other: (world.others if other and kind in world.others else world.tokens)[kind],
            kinds,
            st.booleans(),
        )

    def _cut(self) -> st.SearchStrategy[str]:
        return st.builds(
            lambda token, at, put: token[:at] + put + token[at + 1 :],
            self._right_token(),
            st.integers(0, 400),
            st.sampled_from(["", "A", ".", "=", "-"]),
        )

    def _forged(self) -> st.SearchStrategy[str]:
        claims = st.dictionaries(
            st.sampled_from(["iss", "sub", "issued_by", "exp", "iat", "nbf", "data", "x"]),
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | self._text
            | st.lists(self._text, max_size=2),
            max_size=6,
        )
        # All right but for whom it speaks of, and signed by the organization itself.
        strangers = st.builds(
            lambda kind, name: {
                "issued_by": WEBHOOK_ISSUER,
                "sub": kind + name,
                "exp": int(time.time()) + 60,
            },
            st.sampled_from(["organizationId:", "uuid:", ""]),
            self._text,
        )
        secrets = [organization.shared_secret or "" for organization in self._world.proven.values()]
        return st.builds(
            lambda body, key: jwt.PyJWS().encode(json.dumps(body).encode(), key, algorithm="HS256"),
            claims | strangers,
            st.sampled_from(["k" * 40, SECRET, *secrets]),
        )

    def _bodies(self) -> st.SearchStrategy[bytes]:
        text, key = self._text, self._key
        member = st.sampled_from(
            [
                *("organization_id", "shared_secret", "user_id", "subdomain", "x"),
                *("user_email", "user_password", "author_id", "title", "body", "text", "to", "subject"),
            ]
        )
        ids = [organization.organization_id for organization in self._world.proven.values()]
        known: st.SearchStrategy[Any] = st.sampled_from(
            [*ids, "acme", "o-1", "s" * 40, "ada", "ada@example.com", None, 1, [], {}]
        )
        install = st.fixed_dictionaries(
            {"organization_id": known | text, "shared_secret": key | known | text},
            optional={"user_id": known | text, "subdomain": known | text},
        )
        document = st.dictionaries(member, known | text | key, max_size=5)
        return st.builds(
            lambda value, escaped: json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass"),
            document | install | st.lists(text, max_size=2) | text | st.none(),
            st.booleans(),
        )
