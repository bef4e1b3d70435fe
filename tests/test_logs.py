"""Nothing that is logged shows a credential, and every refusal is recorded."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from flask_orbro import user_required, webhook_required
from flask_orbro.logs import REDACTED, get_logger, redact
from flask_orbro.simulator import SimulatorServer

from .conftest import CLIENT_ID, CLIENT_SECRET, bearer
from .test_webhook_token import signed

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJlLXNpZ25hdHVyZQ"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {TOKEN}",
        "Basic dXNlcjpwYXNzd29yZA==",
        "{'shared_secret': 'hush-hush-hush'}",
        '{"client_secret": "hush-hush-hush"}',
        "[(b'Authorization', b'Bearer hush-hush-hush')]",
        "password=hush-hush-hush&x=1",
        f"token {TOKEN} here",
        "Authorization: Token hush-hush-hush",
        "authorization: ApiKey hush-hush-hush",
        'Authorization: Digest username="ada", realm="x", response="hush-hush-hush", qop=auth',
        "Proxy-Authorization: Negotiate hush-hush-hush==",
        """{'Authorization': 'Digest username="ada", response="hush-hush-hush"'}""",
        '{"headers": "{\\"Authorization\\": \\"Token hush-hush-hush\\"}"}',
        "redis://:hush-hush-hush@127.0.0.1:6379/0",
        "postgresql+psycopg://app:hush-hush-hush@db/app",
        "amqp://app:p@ss:hush-hush-hush@broker",
        "JWT_SECRET_KEY=hush-hush-hush",
        "SECRET_KEY = 'dev hush-hush-hush'",
        "ORBRO_ENCRYPTION_KEYS=one,hush-hush-hush",
        "'ORBRO_ENCRYPTION_KEYS': ['one', 'hush-hush-hush']",
        "x-api-key: hush-hush-hush",
        "(b'X-Api-Key', b'hush-hush-hush')",
        "grant_type=client_credentials&client_assertion=hush-hush-hush&scope=x",
        "GET /x?token=hush-hush-hush HTTP/1.1",
        "/x?a=1&id_token=hush-hush-hush",
        "Cookie: theme=dark; session=hush-hush-hush",
        "Set-Cookie: session=hush-hush-hush; HttpOnly",
        "{'Cookie': 'a=b; session=hush-hush-hush'}",
        "{'password': \"it's hush-hush-hush\"}",
    ],
)
def test_what_looks_like_a_credential_is_redacted(text: str) -> None:
    shown = redact(text)
    assert REDACTED in shown
    for secret in ("hush-hush-hush", TOKEN, "dXNlcjpwYXNzd29yZA"):
        assert secret not in shown


@pytest.mark.parametrize(
    "text",
    [
        "Organization 8a6e0804 at https://acme.orbro.io/api/v1/auth: status_500, bearer of news",
        "Refused: status=401 reason=token_expired detail=exp_too_far endpoint=me credential=user|connect",
        "ORBRO_TOKEN_LIFETIME=1800 tokens=7, a token, a secret, no Authorization, no cookie",
        "http://127.0.0.1:8001/a@b",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert redact(text) == text


def test_what_is_around_a_credential_stays() -> None:
    said = "detail=Send the header 'Authorization: Bearer <token>'. endpoint=me redis://:pw@host/0?x=1"
    assert redact(said) == (f"detail=Send the header '{REDACTED}'. endpoint=me redis://{REDACTED}@host/0?x=1")


@pytest.mark.parametrize("text", ["a" * 200_000, "token='" * 3_000, "://a:" * 3_000, "secret" * 30_000])
def test_a_long_text_is_read_in_time(text: str) -> None:
    began = time.process_time()
    redact(text)
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("%d callers", ("hush-hush-hush",)),
        ("%s and %s", ("one",)),
        ("nothing", ({"client_secret": "hush-hush-hush"}, 2)),
        ("%(who)s", ("password=hush-hush-hush",)),
    ],
)
def test_a_message_that_does_not_fit_its_arguments_is_logged_and_raises_nothing(
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    message: str,
    arguments: tuple[Any, ...],
) -> None:
    get_logger("flask_orbro.tests").warning(message, *arguments)
    (record,) = caplog.records
    assert record.getMessage().startswith(message)
    assert "client_secret" not in record.getMessage()
    assert "password" not in record.getMessage()
    assert capsys.readouterr().err == ""


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyzABCDEF0123456789_-", min_size=12, max_size=80))
def test_no_bearer_token_survives(token: str) -> None:
    assert token not in redact(f"Authorization: Bearer {token}")


def test_messages_arguments_and_tracebacks_are_redacted(caplog: pytest.LogCaptureFixture) -> None:
    logger = get_logger("flask_orbro.tests")
    with caplog.at_level(logging.DEBUG):
        try:
            raise ValueError(f"Bearer {TOKEN}")
        except ValueError:
            logger.exception("Failed with %s", f"Bearer {TOKEN}")
    shown = caplog.text
    assert "Traceback" in shown
    assert "ValueError" in shown
    assert TOKEN not in shown


def test_a_whole_round_at_debug_shows_no_credential(
    simulator: SimulatorServer,
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    origin: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = make_app()

    @app.get("/me")
    @user_required
    def me() -> str:
        return "in"

    with caplog.at_level(logging.DEBUG):
        assert simulator.platform.install(serving(app), "acme", client_id=CLIENT_ID).ok
        token = simulator.platform.user_token("acme")
        client = app.test_client()
        for shown in (token, token[:-4], simulator.platform.webhook_token("acme")):
            client.get("/me", query_string={"origin": origin}, headers=bearer(shown))
    secret = simulator.platform.installation("acme").shared_secret
    assert len(caplog.records) > 5
    for hidden in (token, token[:-4], secret, CLIENT_SECRET):
        assert hidden not in caplog.text


@pytest.mark.parametrize("testing", [True, False])
def test_every_refusal_is_recorded_with_its_exact_reason(
    simulator: SimulatorServer,
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    origin: str,
    caplog: pytest.LogCaptureFixture,
    testing: bool,
) -> None:
    app = make_app(TESTING=testing)

    @app.get("/me", endpoint="me")
    @user_required(role="NOBODY")
    def me() -> str:
        return "in"

    assert simulator.platform.install(serving(app), "acme", client_id=CLIENT_ID).ok
    client = app.test_client()
    caplog.clear()
    for headers in ({}, bearer(simulator.platform.user_token("acme"))):
        client.get(
            "/me", query_string={"origin": origin}, headers={**headers, "X-Request-Id": "r-1\nforged"[:3]}
        )
    records = [record.orbro for record in caplog.records if record.name == "flask_orbro.audit"]
    assert [record["reason"] for record in records] == ["token_missing", "role_not_enough"]
    assert [record["detail"] for record in records] == [
        "The header 'Authorization' is missing: it is 'Bearer', a space and a token.",
        "Your role is not enough for this.",
    ]
    assert {record["endpoint"] for record in records} == {"me"}
    assert {record["request_id"] for record in records} == {"'r-1'"}
    assert {record["named"] for record in records} == {f"'{origin}'"}
    assert [record["organization"] for record in records] == [
        None,
        simulator.platform.organization("acme").id,
    ]


@pytest.mark.parametrize("testing", [True, False])
@pytest.mark.parametrize(
    "shown", [TOKEN, f"Bearer {TOKEN}", "client_secret=hush-hush-hush", "Basic aHVzaA=="]
)
def test_an_audit_record_shows_no_credential_in_its_fields_either(
    make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture, testing: bool, shown: str
) -> None:
    """Formatters that write fields, JSON for example, go past the filter of messages."""
    app = make_app(TESTING=testing)
    for path, decorate in (("/me", user_required), ("/hook", webhook_required)):
        app.add_url_rule(path, path, decorate(lambda: "in"))
    delivery = bearer(signed({"issued_by": "meta-platform-webhook", "sub": shown}, "f" * 40))
    requests: list[tuple[str, dict[str, Any]]] = [
        ("request_id", {"path": "/me", "headers": {"X-Request-Id": shown}}),
        ("named", {"path": "/me", "query_string": {"origin": shown}}),
        ("named", {"path": "/me", "headers": {"sub": shown}}),
        ("named", {"path": "/hook", "headers": delivery}),
    ]
    for field, sent in requests:
        caplog.clear()
        assert app.test_client().get(**sent).status_code == 401
        (record,) = [record.orbro for record in caplog.records if record.name == "flask_orbro.audit"]
        assert REDACTED in record[field]
        for secret in (TOKEN, "hush", "aHVzaA"):
            assert secret not in f"{record} {caplog.text}"


@pytest.mark.parametrize("testing", [True, False])
def test_a_refused_delivery_is_recorded_with_whom_it_names(
    make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture, testing: bool
) -> None:
    app = make_app(TESTING=testing)

    @app.post("/hook")
    @webhook_required
    def hook() -> str:
        return "in"

    token = signed({"issued_by": "meta-platform-webhook", "sub": "organizationId:o1"}, "f" * 40)
    assert app.test_client().post("/hook", headers=bearer(token), json={}).status_code == 401
    (record,) = [record.orbro for record in caplog.records if record.name == "flask_orbro.audit"]
    assert (record["named"], record["organization"]) == ("'organizationId:o1'", None)
    assert record["credential"] == "webhook"


@pytest.mark.parametrize("testing", [True, False])
@pytest.mark.parametrize(
    ("path", "body", "reason", "named"),
    [
        ("/installed", b"{", "json_malformed", None),
        ("/installed", b"[" * 100_000, "json_malformed", None),
        ("/installed", b'{"organization_id": {"shared_secret": "s"}}', "body_invalid", None),
        ("/installed", b'{"organization_id": "o1"}', "body_invalid", "'o1'"),
        ("/uninstalled", b'{"organization_id": "o1"}', "unknown_organization", "'o1'"),
        ("/enabled", b"x" * 2_000_000, "content_too_large", None),
    ],
)
def test_a_refused_lifecycle_call_is_recorded(
    make_app: Callable[..., Flask],
    caplog: pytest.LogCaptureFixture,
    testing: bool,
    path: str,
    body: bytes,
    reason: str,
    named: str | None,
) -> None:
    client = make_app(TESTING=testing).test_client()
    answer = client.post(path, data=body, content_type="application/json")
    (record,) = [record.orbro for record in caplog.records if record.name == "flask_orbro.audit"]
    assert record["status"] == answer.status_code
    assert (record["reason"], record["named"], record["credential"]) == (reason, named, None)
    assert record["endpoint"] == f"orbro.{path[1:]}"
