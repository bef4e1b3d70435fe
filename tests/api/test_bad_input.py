"""Bad input: 4xx with a problem document that names the member; nothing stored, never a 5xx."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from ..conftest import bearer
from ..world import KINDS, World, is_problem, webhook_token

LIFECYCLE = ("/installed", "/uninstalled", "/enabled", "/disabled")
SECRET = "a-well-formed-secret-0123456789-0123456789"
both_modes = pytest.mark.parametrize("testing", [True, False], ids=["testing", "production"])

#: Bodies that are no JSON object, or none at all, with the status they deserve.
BODIES: dict[str, tuple[bytes, str | None, int]] = {
    "no body": (b"", "application/json", 400),
    "neither body nor type": (b"", None, 415),
    "cut off": (b'{"organization_id": "o"', "application/json", 400),
    "words": (b"hello", "application/json", 400),
    "two documents": (b"{}{}", "application/json", 400),
    "not a number": (b'{"organization_id": NaN}', "application/json", 400),
    "infinity": (b"[-Infinity]", "application/json", 400),
    "a list": (b'["organization_id"]', "application/json", 400),
    "a string": (b'"organization_id"', "application/json", 400),
    "a number": (b"1", "application/json", 400),
    "null": (b"null", "application/json", 400),
    "no UTF-8": (b'{"organization_id": "\xff"}', "application/json", 400),
    "latin-1": ('{"organization_id": "é"}'.encode("latin-1"), "application/json; charset=latin-1", 400),
    "a byte order mark": (b'\xef\xbb\xbf{"organization_id": 1}', "application/json", 400),
    "a huge number": (b'{"organization_id": ' + b"9" * 10_000 + b"}", "application/json", 400),
    "a huge exponent": (b'{"organization_id": "o", "n": -1e999}', "application/json", 400),
    "deep": (b"[" * 100_000 + b"]" * 100_000, "application/json", 400),
    "deep objects": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "application/json", 400),
    "a form": (b"organization_id=o&shared_secret=s", "application/x-www-form-urlencoded", 415),
    "text": (b'{"organization_id": "o"}', "text/plain", 415),
    "a broken type": (b'{"organization_id": "o"}', ";;;", 415),
    "too large": (b'{"organization_id": "' + b"o" * 5000 + b'"}', "application/json", 413),
}

#: Those that a webhook may well have: what they mean is the view's affair.
ANY_JSON = {"a list", "a string", "a number", "null", "a byte order mark", "too large"}
#: Values that no identifier may have.
BAD_IDS: list[Any] = [
    None, "", " ", 1, 1.5, True, [], {}, ["o"], {"o": "o"}, "a b", "a\x00b", "\x00", "a\nb", "\ud800",
    "\udc80b", "é", "日本", "\u202eo", "o" * 256, "o\x7f", 10**30,
]  # fmt: skip
BAD_SECRETS: list[Any] = [None, "", "short", "s" * 31, "s" * 256, "s" * 31 + "\x00", "é" * 40, 1, ["s" * 40]]
BAD_SUBDOMAINS: list[Any] = [
    "", "a.b", "-a", "a-", "a_b", "a b", "acme.", ".acme", "a" * 64, "é", "acme\x00", "acme\n", "http://acme",
    "acme/..", "acme@evil", "evil#", "\ud800", 1, [], {}, True, "xn--" + "a" * 70, "\uff41cme",
]  # fmt: skip


@both_modes
@pytest.mark.parametrize("kind", ["view", "resource"])
def test_a_lifecycle_body_that_is_no_json_object_is_refused(
    make_world: Callable[..., World], kind: str, testing: bool
) -> None:
    world = make_world(kind=kind, TESTING=testing, ORBRO_MAX_BODY=1024 * 4 if testing else 4096)
    stored = world.everything()
    wrong = []
    for path in LIFECYCLE:
        for name, (body, content_type, status) in BODIES.items():
            if len(body) > 4096 and status == 400:
                status = 413
            answer = world.client.post(path, data=body, content_type=content_type)
            if answer.status_code != status or answer.content_type != "application/problem+json":
                wrong.append((path, name, answer.status_code, answer.content_type))
    assert wrong == []
    assert world.everything() == stored


@both_modes
def test_deep_and_huge_bodies_are_refused_below_the_limit_too(
    make_world: Callable[..., World], testing: bool
) -> None:
    world = make_world(TESTING=testing)
    token = world.platform.webhook_token("acme")
    for name in ("deep", "deep objects", "a huge number"):
        for path in LIFECYCLE:
            answer = world.client.post(path, data=BODIES[name][0], content_type="application/json")
            assert is_problem(answer, 400)["code"] == "json_malformed"
        answer = world.deliver(token, data=BODIES[name][0], content_type="application/json")
        is_problem(answer, 400)


@both_modes
@pytest.mark.parametrize("path", LIFECYCLE)
def test_an_organization_id_that_is_none_is_named(
    make_world: Callable[..., World], path: str, testing: bool
) -> None:
    world = make_world(TESTING=testing)
    stored = world.everything()
    for value in BAD_IDS:
        answer = world.client.post(path, json={"organization_id": value, "shared_secret": SECRET})
        assert list(is_problem(answer, 400)["errors"]) == ["organization_id"]
    missing = world.client.post(path, json={"shared_secret": SECRET, "organizationId": "o"})
    assert list(is_problem(missing, 400)["errors"]) == ["organization_id"]
    assert world.everything() == stored


@both_modes
@pytest.mark.parametrize(
    ("member", "values"),
    [
        ("shared_secret", BAD_SECRETS),
        ("subdomain", BAD_SUBDOMAINS),
        ("user_id", [value for value in BAD_IDS if value is not None]),
    ],
    ids=["shared_secret", "subdomain", "user_id"],
)
def test_an_install_names_the_member_at_fault(
    make_world: Callable[..., World], member: str, values: list[Any], testing: bool
) -> None:
    world = make_world(install=False, TESTING=testing)
    good = {"organization_id": "o", "shared_secret": SECRET, "subdomain": "acme", "user_id": "u"}
    for value in values:
        document = is_problem(world.client.post("/installed", json=good | {member: value}), 400)
        assert (document["code"], list(document["errors"])) == ("body_invalid", [member])
        assert member in document["detail"]
        assert SECRET not in json.dumps(document), "the answer repeats no value"
    assert world.everything() == ([], 0)
    assert world.seen == []


def test_every_member_at_fault_is_named_at_once(make_world: Callable[..., World]) -> None:
    world = make_world(install=False)
    answer = world.client.post("/installed", json={"shared_secret": 1, "subdomain": "a.b", "extra": 1})
    assert set(is_problem(answer, 400)["errors"]) == {"organization_id", "shared_secret", "subdomain"}


def test_unknown_members_are_ignored(make_world: Callable[..., World]) -> None:
    world = make_world(install=False)
    body = {"organization_id": "o", "shared_secret": SECRET, "data": "\ud800", "__proto__": {"a": 1}}
    assert world.client.post("/installed", json=body).status_code == 200
    assert world.everything()[1] == 1


@both_modes
@pytest.mark.parametrize("path", LIFECYCLE[1:])
def test_an_unknown_organization_is_not_found(
    make_world: Callable[..., World], path: str, testing: bool
) -> None:
    world = make_world(TESTING=testing)
    stored = world.everything()
    for name in (
        "nobody",
        world.organization_id.upper(),
        world.organization_id + "0",
        "'; drop table x; --"[:9],
    ):
        answer = world.client.post(path, json={"organization_id": name.replace(" ", "_")})
        assert is_problem(answer, 404)["code"] == "unknown_organization"
    assert world.everything() == stored


@both_modes
@pytest.mark.parametrize("path", [*LIFECYCLE, "/webhook/device"])
def test_another_method_is_refused_with_those_allowed(
    make_world: Callable[..., World], path: str, testing: bool
) -> None:
    world = make_world(TESTING=testing)
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        answer = world.client.open(path, method=method)
        assert answer.status_code == 405
        assert "POST" in answer.headers["Allow"]
        if path in LIFECYCLE:
            is_problem(answer, 405)


@both_modes
@pytest.mark.parametrize("kind", KINDS)
def test_a_webhooks_body_is_judged_after_its_token(
    make_world: Callable[..., World], kind: str, testing: bool
) -> None:
    world = make_world(kind=kind, TESTING=testing, ORBRO_MAX_BODY=400_000)
    good = world.platform.webhook_token("acme")
    wrong = []
    for name, (body, content_type, status) in BODIES.items():
        if name in ANY_JSON:
            continue
        answer = world.deliver(good, data=body, content_type=content_type)
        if answer.status_code != status or answer.content_type != "application/problem+json":
            wrong.append((name, answer.status_code))
        is_problem(world.deliver("bad", data=body, content_type=content_type), 401)
    assert wrong == []
    large = b'"' + b"o" * 400_001 + b'"'
    is_problem(world.deliver(good, data=large, content_type="application/json"), 413)
    is_problem(world.deliver("bad", data=large, content_type="application/json"), 401)


def test_a_webhooks_payload_comes_as_it_was_sent(make_world: Callable[..., World]) -> None:
    world = make_world()
    for payload in ([], None, 1, "text", {"": "\x00"}, {"é": ["日本", "\ud800"]}, [[[[]]]]):
        answer = world.deliver(world.platform.webhook_token("acme"), data=json.dumps(payload).encode(),
                               content_type="application/json")  # fmt: skip
        assert answer.json["payload"] == payload


AUTHORIZATIONS = [
    "", " ", "Bearer", "Bearer ", "Bearer  x", "bearer x.y.z", "Bearer x y", "Bearer x,y", "Basic YTpi",
    "Bearer é", "Bearer \x80", "Bearer \t", "Bearer x\x00", "Bearer " + "x" * 9000, "Bearer ...", "Bearer .",
    "Token x", "x.y.z", "Bearer eyJ9.e30.", "Bearer eyJhbGciOiJub25lIn0.e30.", "Bearer e30.e30.e30",
    "Bearer =", "Bearer bnVsbA.bnVsbA.x",
]  # fmt: skip


@both_modes
@pytest.mark.parametrize("kind", KINDS)
def test_a_malformed_authorization_is_refused_everywhere(
    make_world: Callable[..., World], kind: str, testing: bool
) -> None:
    world = make_world(kind=kind, TESTING=testing)
    stored = world.everything()
    wrong = []
    for header in AUTHORIZATIONS:
        headers = {"Authorization": header}
        answers = {
            path: world.get(path, headers=headers) for path in ("/user", "/connect", "/open", "/users")
        }
        answers["/webhook/device"] = world.client.post("/webhook/device", json={}, headers=headers)
        for path, answer in answers.items():
            challenged = answer.headers.get("WWW-Authenticate", "").startswith("Bearer")
            if (answer.status_code, answer.content_type, challenged) != (
                401,
                "application/problem+json",
                True,
            ):
                wrong.append((path, header[:30], answer.status_code))
    assert wrong == []
    assert world.everything() == stored


@both_modes
def test_odd_claims_of_a_webhook_token_are_refused(make_world: Callable[..., World], testing: bool) -> None:
    world = make_world(TESTING=testing)
    secret = world.stored().shared_secret
    odd: list[dict[str, Any]] = [{"sub": value} for value in (
        "organizationId:", "organizationId", ":", "", "uuid:", "uuid:\x00", "organizationId:\ud800",
        "organizationId:é", "organizationId:" + "o" * 3000, "other:x",
        f"organizationId:{world.organization_id}\x00", f"OrganizationId:{world.organization_id}",
    )]  # fmt: skip
    odd += [{"exp": value} for value in ("1", "soon", [], {}, True, -1, 0, 1e300, 10**400)]
    odd += [{"iat": value} for value in ("1", [], True, 1e300)]
    odd += [{"nbf": value} for value in ("1", 1e11)]
    odd += [
        {"issued_by": value} for value in (None, "", 1, "meta-platform-connect", ["meta-platform-webhook"])
    ]
    wrong = []
    for claims in odd:
        body = webhook_payload(world.organization_id, claims)
        token = sign(body, secret)
        for sent in (token, sign(body, "another-secret-0123456789-0123456789")):
            status = world.deliver(sent).status_code
            if status != 401:
                wrong.append((claims, status))
    assert wrong == []
    assert world.deliver(webhook_token(secret, world.organization_id)).status_code == 200


def webhook_payload(organization_id: str, claims: dict[str, Any]) -> bytes:
    usual = {
        "issued_by": "meta-platform-webhook",
        "sub": f"organizationId:{organization_id}",
        "exp": int(time.time()) + 60,
    }
    return json.dumps(usual | claims).encode()


def sign(payload: bytes, secret: str) -> str:
    return jwt.PyJWS().encode(payload, secret, algorithm="HS256")


def test_many_organizations_named_at_once_are_none(make_world: Callable[..., World]) -> None:
    world = make_world()
    token = world.platform.user_token("acme")
    evil, right = "origin=http://evil.example", f"origin={world.origin()}"
    for first, second in ((right, evil), (evil, right), (right, right)):
        # A proxy in front may read another one of them than we do.
        is_problem(world.client.get(f"/user?{first}&{second}", headers=bearer(token)), 400)
    is_problem(world.client.get("/user", headers=bearer(token)), 400)
    is_problem(world.client.get("/user?origin=%ff%00", headers=bearer(token)), 400)
