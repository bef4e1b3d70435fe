"""Credentials of every kind: right ones, each that is wrong in one thing alone, and what becomes of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import jwt

from flask_orbro.simulator import Platform

from .test_webhook_token import signed

USER, CONNECT, OPEN_API, WEBHOOK = KINDS = ("user", "connect", "open_api", "webhook")
#: What an app signs its own log-ins with; long enough for every algorithm that a token may name.
OWN_KEY = "the-app-s-own-key-that-signs-its-log-ins-and-is-long-enough-for-hs512"

IN, MISSING, OTHER_KIND = "in", "token_missing", "token_of_another_kind"
EXPIRED, INVALID = "token_expired", "token_invalid"
#: Refusals, by how much they tell: where several kinds are taken, the last of them is answered.
TELLING = (MISSING, OTHER_KIND, INVALID, EXPIRED)

#: What becomes of each credential where one kind alone is taken, in the order of ``KINDS``: it is let in, or
#: why not. A token that says what it is is refused without a question; else the platform is asked.
OUTCOMES: dict[str, tuple[str, str, str, str]] = {
    # credential                        user        connect     open_api    webhook
    "none":                            (MISSING,    MISSING,    MISSING,    MISSING),
    "user":                            (IN,         INVALID,    INVALID,    INVALID),
    "connect":                         (INVALID,    IN,         INVALID,    INVALID),
    "open_api":                        (INVALID,    INVALID,    IN,         INVALID),
    "webhook":                         (OTHER_KIND, OTHER_KIND, OTHER_KIND, IN),
    # An app's token of its own making is a connect-app token of the app itself.
    "app":                             (OTHER_KIND, IN,         OTHER_KIND, INVALID),
    "app, expired":                    (OTHER_KIND, EXPIRED,    OTHER_KIND, INVALID),
    # A log-in of the app's own, which the platform is never shown.
    "own":                             (OTHER_KIND, OTHER_KIND, OTHER_KIND, INVALID),

    "user, expired":                   (EXPIRED,    INVALID,    INVALID,    INVALID),
    "user, of another organization":   (INVALID,    INVALID,    INVALID,    INVALID),
    # An issuer that nobody knows says nothing: the platform has signed it.
    "user, issued by somebody":        (IN,         INVALID,    INVALID,    INVALID),
    "user, issued by connect":         (OTHER_KIND, INVALID,    OTHER_KIND, INVALID),
    "user, issued by webhook":         (OTHER_KIND, OTHER_KIND, OTHER_KIND, INVALID),
    "user, alg none":                  (INVALID,    INVALID,    INVALID,    INVALID),
    "user, alg swapped":               (INVALID,    INVALID,    INVALID,    INVALID),
    "user, alg HS512":                 (INVALID,    INVALID,    INVALID,    INVALID),
    "user, other key":                 (INVALID,    INVALID,    INVALID,    INVALID),

    "connect, expired":                (INVALID,    EXPIRED,    INVALID,    INVALID),
    "connect, of another organization": (INVALID,   INVALID,    INVALID,    INVALID),
    "connect, issued by somebody":     (INVALID,    IN,         INVALID,    INVALID),
    "connect, issued by connect":      (OTHER_KIND, IN,         OTHER_KIND, INVALID),
    "connect, issued by webhook":      (OTHER_KIND, OTHER_KIND, OTHER_KIND, INVALID),
    "connect, alg none":               (INVALID,    INVALID,    INVALID,    INVALID),
    "connect, alg swapped":            (INVALID,    INVALID,    INVALID,    INVALID),
    "connect, alg HS512":              (INVALID,    INVALID,    INVALID,    INVALID),
    "connect, other key":              (INVALID,    INVALID,    INVALID,    INVALID),

    "open_api, expired":               (INVALID,    INVALID,    EXPIRED,    INVALID),
    "open_api, of another organization": (INVALID,  INVALID,    INVALID,    INVALID),
    "open_api, issued by somebody":    (INVALID,    INVALID,    IN,         INVALID),
    "open_api, issued by connect":     (OTHER_KIND, INVALID,    OTHER_KIND, INVALID),
    "open_api, issued by webhook":     (OTHER_KIND, OTHER_KIND, OTHER_KIND, INVALID),
    "open_api, alg none":              (INVALID,    INVALID,    INVALID,    INVALID),
    "open_api, alg swapped":           (INVALID,    INVALID,    INVALID,    INVALID),
    "open_api, alg HS512":             (INVALID,    INVALID,    INVALID,    INVALID),
    "open_api, other key":             (INVALID,    INVALID,    INVALID,    INVALID),

    "webhook, expired":                (OTHER_KIND, OTHER_KIND, OTHER_KIND, EXPIRED),
    "webhook, of another organization": (OTHER_KIND, OTHER_KIND, OTHER_KIND, INVALID),
    "webhook, issued by somebody":     (INVALID,    INVALID,    INVALID,    INVALID),
    "webhook, issued by connect":      (OTHER_KIND, INVALID,    OTHER_KIND, INVALID),
    "webhook, issued by webhook":      (OTHER_KIND, OTHER_KIND, OTHER_KIND, IN),
    "webhook, alg none":               (OTHER_KIND, OTHER_KIND, OTHER_KIND, INVALID),
    "webhook, alg swapped":            (OTHER_KIND, OTHER_KIND, OTHER_KIND, INVALID),
    "webhook, alg HS512":              (OTHER_KIND, OTHER_KIND, OTHER_KIND, INVALID),
    "webhook, other key":              (OTHER_KIND, OTHER_KIND, OTHER_KIND, INVALID),
}  # fmt: skip


class Credentials:
    """Tokens for the organization ``acme``, by name, from a platform where ``globex`` is, too.

    Where one is wrong in something else than its signature, the signature is right: the platform's own for
    its own tokens, the shared secret's for webhooks.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def all(self) -> dict[str, str | None]:
        """Each once. Those that are wrong are named for what they would else be."""
        wrong = {f"{kind}, {fault}": token for kind in KINDS for fault, token in self._wrong(kind)}
        app = self._platform.app_token(self._platform.installation("acme"))
        old_app = self._platform.app_token(self._platform.installation("acme"), expires_in=-60)
        own = jwt.encode({"sub": "ada", "exp": int(time.time()) + 600}, OWN_KEY, algorithm="HS256")
        right = {kind: self._right(kind) for kind in KINDS}
        return {"none": None, **right, "app": app, "app, expired": old_app, "own": own, **wrong}

    def _wrong(self, kind: str) -> Iterator[tuple[str, str]]:
        claims, key = self._claims(kind), self._key(kind)
        yield "expired", self._right(kind, expires_in=-60)
        yield "of another organization", self._of_another_organization(kind)
        for issuer in ("somebody", "connect", "webhook"):
            yield f"issued by {issuer}", signed(claims | {"issued_by": f"meta-platform-{issuer}"}, key)
        yield "alg none", jwt.encode(claims, None, algorithm="none")
        yield "alg swapped", signed(claims, key, header={"alg": "HS512", "typ": "JWT"})
        yield "alg HS512", signed(claims, key, header={"alg": "HS512", "typ": "JWT"}, digest="sha512")
        yield "other key", signed(claims, "k" * 64)

    def _right(self, kind: str, subdomain: str = "acme", **options: Any) -> str:
        if kind == OPEN_API:
            return self._platform.open_api_token(**options)
        token: str = getattr(self._platform, f"{kind}_token")(subdomain, **options)
        return token

    def _of_another_organization(self, kind: str) -> str:
        """A token of ``globex``; a webhook's says that it is ``acme``'s."""
        if kind == OPEN_API:
            globex = {"organization_id": self._platform.organization("globex").id}
            return signed(self._claims(kind) | globex, self._key(kind))
        if kind == WEBHOOK:
            return signed(self._claims(kind), self._key(kind, "globex"))
        return self._right(kind, "globex")

    def _claims(self, kind: str) -> dict[str, Any]:
        claims: dict[str, Any] = jwt.decode(self._right(kind), options={"verify_signature": False})
        return claims

    def _key(self, kind: str, subdomain: str = "acme") -> str | bytes:
        return self._platform.installation(subdomain).shared_secret if kind == WEBHOOK else self._platform.key
