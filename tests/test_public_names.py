"""What the package offers by name; anything else is free to change."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import flask_orbro
from flask_orbro import public

NAMES = [
    "AsyncConnection",
    "AsyncPlatformClient",
    "CallFailed",
    "ClientInfo",
    "ClientInfoDataStore",
    "ConfigurationError",
    "ConnectAppClaimMixin",
    "ConnectAppClientInfoMixin",
    "ConnectAppDeliveryMixin",
    "ConnectAppIdentity",
    "ConnectAppToken",
    "Connection",
    "ConnectionFailed",
    "ConnectionMisconfigured",
    "ConnectionRateLimited",
    "ConnectionRefused",
    "ConnectionResponse",
    "ConnectionUnavailable",
    "Delivery",
    "DescriptorError",
    "DictTokenDataStore",
    "Gathered",
    "NoCallerError",
    "NotAllowed",
    "NotAuthenticated",
    "NotInitializedError",
    "OpenApiIdentity",
    "OrbroConnect",
    "OrbroError",
    "OrganizationInfo",
    "PlatformClient",
    "PlatformError",
    "PlatformInvalidResponse",
    "PlatformRateLimited",
    "PlatformRefused",
    "PlatformResponse",
    "PlatformUnavailable",
    "ProblemError",
    "RedisTokenDataStore",
    "TokenStore",
    "UserIdentity",
    "answers_problems",
    "any_of",
    "app_disabled",
    "app_enabled",
    "app_erased",
    "app_installed",
    "app_uninstalled",
    "authenticate_any_of",
    "authenticate_connect_app",
    "authenticate_open_api",
    "authenticate_user",
    "authenticate_webhook",
    "connect_required",
    "current_delivery",
    "current_identity",
    "current_organization",
    "delivery_dead",
    "load_body",
    "open_api_required",
    "problem_response",
    "schema_model",
    "schema_params",
    "user_required",
    "webhook_required",
]


def test_the_public_names_are_these() -> None:
    assert sorted(flask_orbro.__all__) == NAMES


def test_every_public_name_is_there() -> None:
    assert [name for name in NAMES if not hasattr(flask_orbro, name)] == []
    assert set(NAMES) <= set(dir(flask_orbro))


def test_nothing_else_is_public() -> None:
    found = {
        name
        for name, value in vars(public).items()
        if not name.startswith("_") and type(value) is not ModuleType
    }
    assert found - set(NAMES) == set()
    with pytest.raises(AttributeError, match="has no attribute 'get_state'"):
        _ = flask_orbro.get_state


def run(code: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    return done.returncode, done.stderr


def test_the_package_is_imported_without_any_optional_package() -> None:
    missing = ["redis", "celery", "flask_admin", "flask_limiter", "limits", "prometheus_client", "alembic"]
    blocked = "".join(f"sys.modules[{name!r}] = None; " for name in missing)
    code = f"import sys; {blocked}import flask_orbro, flask_orbro.cli, flask_orbro.simulator"
    assert run(code) == (0, "")


@pytest.mark.parametrize("module", ["installs.lifecycle", "cli", "public"])
def test_any_module_can_be_the_first_to_be_imported(module: str) -> None:
    assert run(f"import flask_orbro.{module}, flask_orbro; flask_orbro.OrbroConnect") == (0, "")


def test_connections_are_imported_without_flask() -> None:
    missing = ("flask", "flask_restx", "flask_sqlalchemy", "sqlalchemy", "marshmallow", "apispec")
    blocked = "".join(f"sys.modules[{name!r}] = None; " for name in missing)
    code = f"import sys; {blocked}from flask_orbro.connections import Connection; Connection('a', {{'url': 'https://a.example'}})"
    assert run(code) == (0, "")
