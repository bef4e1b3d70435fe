"""The app's own JWTs are told apart, and never sent to the platform."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flask import Flask, request
from flask_jwt_extended import JWTManager, create_access_token

from flask_orbro import NoCallerError, any_of, authenticate_user, current_identity, user_required
from flask_orbro.own_tokens import is_own_token
from flask_orbro.simulator import SimulatorServer

from .conftest import CLIENT_ID, bearer

KEY = "the-app-s-own-key-that-is-long-enough-for-hs512-as-well-0123456789"


def test_a_key_of_the_app_tells_its_tokens() -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    own = {
        "JWT_SECRET_KEY": [jwt.encode({"sub": "1"}, KEY, "HS256"), KEY],
        "SECRET_KEY": [jwt.encode({"sub": "1"}, KEY, "HS512"), KEY],
        "JWT_PUBLIC_KEY": [jwt.encode({"sub": "1"}, private, "ES256"), private.public_key()],
    }
    for setting, (token, key) in own.items():
        assert is_own_token(token, {setting: key})
        assert not is_own_token(token, {})
    assert not is_own_token(jwt.encode({"sub": "1"}, "k" * 40, "HS256"), {"JWT_SECRET_KEY": KEY})
    for nonsense in ("", "x", "a.b.c", jwt.encode({}, None, "none")):
        assert not is_own_token(nonsense, {"JWT_SECRET_KEY": KEY, "JWT_PUBLIC_KEY": "x"})


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_private_key_tells_the_apps_tokens_too(algorithm: str) -> None:
    private: Any = {
        "RS256": lambda: rsa.generate_private_key(65537, 2048),
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
    }[algorithm]()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for key in (private, pem, pem.decode()):
        assert is_own_token(jwt.encode({}, private, algorithm), {"JWT_PRIVATE_KEY": key})
    other = ec.generate_private_key(ec.SECP256R1())
    assert not is_own_token(jwt.encode({}, other, "ES256"), {"JWT_PRIVATE_KEY": pem})
    assert not is_own_token(jwt.encode({}, other, "ES256"), {"JWT_PRIVATE_KEY": "no key"})


@pytest.mark.parametrize("testing", [True, False])
@pytest.mark.parametrize("answer", ["key", "none", "raises"])
def test_a_key_loader_of_the_app_tells_its_tokens(
    simulator: SimulatorServer,
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    origin: str,
    testing: bool,
    answer: str,
) -> None:
    app = make_app(TESTING=testing, JWT_SECRET_KEY="-" * 40)
    manager = JWTManager(app)

    @manager.encode_key_loader
    def encode_key(_identity: Any) -> str:
        return KEY

    @manager.decode_key_loader
    def decode_key(header: dict[str, Any], _claims: dict[str, Any]) -> str | None:
        if answer == "raises":
            raise KeyError("kid")
        return KEY if answer == "key" else None

    @app.get("/user")
    @user_required(optional=True)
    def user() -> str:
        return "in"

    assert simulator.platform.install(serving(app), "acme", client_id=CLIENT_ID).ok
    with app.app_context():
        token = create_access_token("ada")
    simulator.platform.reset_log()
    where = {"origin": origin}
    response = app.test_client().get("/user", query_string=where, headers=bearer(token))
    assert response.status_code == (200 if answer == "key" else 401)
    assert bool(simulator.platform.requests) == (answer != "key")
    genuine = bearer(simulator.platform.user_token("acme"))
    assert app.test_client().get("/user", query_string=where, headers=genuine).status_code == 200


@pytest.mark.parametrize("testing", [True, False])
def test_an_own_token_is_refused_without_a_question(
    simulator: SimulatorServer,
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    origin: str,
    testing: bool,
) -> None:
    app = make_app(TESTING=testing, JWT_SECRET_KEY=KEY)
    JWTManager(app)

    @app.get("/either")
    @any_of("user", "connect", "open_api")
    def either() -> str:
        return "in"

    assert simulator.platform.install(serving(app), "acme", client_id=CLIENT_ID).ok
    with app.app_context():
        token = create_access_token("ada")
    simulator.platform.reset_log()
    response = app.test_client().get("/either", query_string={"origin": origin}, headers=bearer(token))
    assert response.status_code == 401
    assert response.get_json()["code"] == "token_of_another_kind"
    assert not simulator.platform.requests


@pytest.mark.parametrize("testing", [True, False])
def test_an_optional_user_in_before_request_lets_own_tokens_pass(
    simulator: SimulatorServer,
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    origin: str,
    testing: bool,
) -> None:
    """What the old SDK's middleware gave every request."""
    app = make_app(TESTING=testing, JWT_SECRET_KEY=KEY)
    JWTManager(app)

    @app.before_request
    def caller() -> None:
        if request.path == "/who":
            authenticate_user(optional=True)

    @app.get("/who")
    def who() -> dict[str, str | None]:
        return {"email": current_identity.email if current_identity else None}

    assert simulator.platform.install(serving(app), "acme", client_id=CLIENT_ID).ok
    with app.app_context():
        own = create_access_token("ada")
    simulator.platform.reset_log()
    client = app.test_client()
    for headers in ({}, bearer(own)):
        assert client.get("/who", query_string={"origin": origin}, headers=headers).json == {"email": None}
    assert not simulator.platform.requests
    user = bearer(simulator.platform.user_token("acme"))
    accepted = client.get("/who", query_string={"origin": origin}, headers=user)
    assert accepted.json == {"email": "admin@acme.example"}
    assert client.get("/who", query_string={"origin": origin}, headers=bearer("x")).status_code == 401


@pytest.mark.parametrize("testing", [True, False])
def test_a_caller_may_be_let_in_for_a_block_alone(
    simulator: SimulatorServer,
    make_app: Callable[..., Flask],
    serving: Callable[[Flask], str],
    origin: str,
    testing: bool,
) -> None:
    app = make_app(TESTING=testing)

    @app.get("/block")
    def block() -> dict[str, str]:
        with authenticate_user(role="HQ") as caller:
            within = current_identity.uuid
            assert caller.identity == current_identity
        try:
            after = current_identity.uuid
        except NoCallerError:
            after = "nobody"
        return {"within": within, "after": after}

    @app.get("/nested")
    @user_required
    def nested() -> dict[str, bool]:
        before = current_identity.uuid
        with authenticate_user():
            pass
        return {"same": current_identity.uuid == before}

    assert simulator.platform.install(serving(app), "acme", client_id=CLIENT_ID).ok
    user = bearer(simulator.platform.user_token("acme"))
    nested_answer = app.test_client().get("/nested", query_string={"origin": origin}, headers=user)
    assert nested_answer.json == {"same": True}
    answer = app.test_client().get("/block", query_string={"origin": origin}, headers=user).json
    assert answer is not None
    assert (answer["after"], len(answer["within"])) == ("nobody", 36)
    assert app.test_client().get("/block", query_string={"origin": origin}).status_code == 401
