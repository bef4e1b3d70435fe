"""The app's own JWTs are told apart, and never sent to the platform."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flask import request
from flask_jwt_extended import JWTManager, create_access_token

from flask_orbro import NoCallerError, any_of, authenticate_user, current_identity, user_required
from flask_orbro.own_tokens import is_own_token

from .world import World, is_problem

both_modes = pytest.mark.parametrize("testing", [True, False], ids=["testing", "production"])
KEY = "the-app-s-own-key-that-is-long-enough-for-hs512-as-well-0123456789"


def own_token(world: World) -> str:
    """A log-in of the app's own, which is installed by then; nothing has asked the platform since."""
    world.install()
    with world.app.app_context():
        token: str = create_access_token("ada")
    world.platform.reset_log()
    return token


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
    pem = pem_of(private)
    for key in (private, pem, pem.encode()):
        assert is_own_token(jwt.encode({}, private, algorithm), {"JWT_PRIVATE_KEY": key})
    other = ec.generate_private_key(ec.SECP256R1())
    assert not is_own_token(jwt.encode({}, other, "ES256"), {"JWT_PRIVATE_KEY": pem})
    assert not is_own_token(jwt.encode({}, other, "ES256"), {"JWT_PRIVATE_KEY": "no key"})


def pem_of(private: Any) -> str:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


PRIVATE_KEYS = {
    "RSA": pem_of(rsa.generate_private_key(65537, 2048)),
    "EC": pem_of(ec.generate_private_key(ec.SECP256R1())),
    "Ed25519": pem_of(ed25519.Ed25519PrivateKey.generate()),
}
#: What a header may say in JSON; nobody has signed such a token.
ALGORITHMS = (
    *('"foo"', '["HS256"]', '"\\ud800"', "null", "{}", "7", "true", '""', '"none"', '"hs256"', '"HS999"'),
    *(f'"{known}"' for known in jwt.PyJWS().get_algorithms()),
)


def claiming(algorithm: str) -> str:
    """A token whose header names an algorithm; its signature is nonsense."""
    header = base64.urlsafe_b64encode(f'{{"alg": {algorithm}}}'.encode()).decode().rstrip("=")
    return f"{header}.e30.AAAA"


@both_modes
@pytest.mark.parametrize("kind", PRIVATE_KEYS)
def test_a_token_of_any_algorithm_is_refused_where_the_app_has_a_private_key(
    make_world: Callable[..., World], testing: bool, kind: str
) -> None:
    views = {"/optional": (user_required(optional=True), dict)}
    world = make_world(views=views, TESTING=testing, JWT_PRIVATE_KEY=PRIVATE_KEYS[kind])
    for algorithm in ALGORITHMS:
        for path in ("/user", "/optional"):
            assert is_problem(world.get(path, claiming(algorithm)), 401), (algorithm, path)


@both_modes
@pytest.mark.parametrize("answer", ["key", "none", "raises"])
def test_a_key_loader_of_the_app_tells_its_tokens(
    make_world: Callable[..., World], testing: bool, answer: str
) -> None:
    optional = {"/optional": (user_required(optional=True), dict)}
    world = make_world(views=optional, install=False, TESTING=testing, JWT_SECRET_KEY="-" * 40)
    manager = JWTManager(world.app)

    @manager.encode_key_loader
    def encode_key(_identity: Any) -> str:
        return KEY

    @manager.decode_key_loader
    def decode_key(header: dict[str, Any], _claims: dict[str, Any]) -> str | None:
        if answer == "raises":
            raise KeyError("kid")
        return KEY if answer == "key" else None

    own = own_token(world)
    assert world.get("/optional", own).status_code == (200 if answer == "key" else 401)
    assert bool(world.platform.requests) == (answer != "key")
    assert world.get("/optional", world.platform.user_token("acme")).status_code == 200


@both_modes
def test_an_own_token_is_refused_without_a_question(make_world: Callable[..., World], testing: bool) -> None:
    either = {"/either": (any_of("user", "connect", "open_api"), dict)}
    world = make_world(views=either, install=False, TESTING=testing, JWT_SECRET_KEY=KEY)
    JWTManager(world.app)
    own = own_token(world)
    assert is_problem(world.get("/either", own), 401)["code"] == "token_of_another_kind"
    assert not world.platform.requests


@both_modes
def test_an_optional_user_in_before_request_lets_own_tokens_pass(
    make_world: Callable[..., World], testing: bool
) -> None:
    """What the old SDK's middleware gave every request."""
    world = make_world(
        views={
            "/who": (
                lambda view: view,
                lambda: {"email": current_identity.email if current_identity else None},
            )
        },
        install=False,
        TESTING=testing,
        JWT_SECRET_KEY=KEY,
    )
    JWTManager(world.app)

    @world.app.before_request
    def caller() -> None:
        if request.path == "/who":
            authenticate_user(optional=True)

    for token in (None, own_token(world)):
        assert world.get("/who", token).json == {"email": None}
    assert not world.platform.requests
    assert world.get("/who", world.platform.user_token("acme")).json == {"email": "admin@acme.example"}
    assert world.get("/who", "x").status_code == 401


@both_modes
def test_a_caller_may_be_let_in_for_a_block_alone(make_world: Callable[..., World], testing: bool) -> None:
    def block() -> dict[str, str]:
        with authenticate_user(role="HQ") as caller:
            within = current_identity.uuid
            assert caller.identity == current_identity
        try:
            after = current_identity.uuid
        except NoCallerError:
            after = "nobody"
        return {"within": within, "after": after}

    def nested() -> dict[str, bool]:
        before = current_identity.uuid
        with authenticate_user():
            pass
        return {"same": current_identity.uuid == before}

    views = {"/block": (lambda view: view, block), "/nested": (user_required, nested)}
    world = make_world(views=views, TESTING=testing)
    user = world.platform.user_token("acme")
    assert world.get("/nested", user).json == {"same": True}
    answer = world.get("/block", user).get_json()
    assert (answer["after"], len(answer["within"])) == ("nobody", 36)
    assert world.get("/block").status_code == 401
