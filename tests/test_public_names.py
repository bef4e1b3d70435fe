"""What the package offers by name; anything else is free to change."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import flask_orbro

NAMES = [
    "AsyncPlatformClient",
    "ConfigurationError",
    "ConnectAppClaimMixin",
    "ConnectAppClientInfoMixin",
    "ConnectAppIdentity",
    "ConnectAppToken",
    "Delivery",
    "DescriptorError",
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
    "PlatformRateLimited",
    "PlatformRefused",
    "PlatformResponse",
    "PlatformUnavailable",
    "ProblemError",
    "UserIdentity",
    "any_of",
    "app_disabled",
    "app_enabled",
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
    "open_api_required",
    "problem_response",
    "schema_model",
    "user_required",
    "webhook_required",
]


def test_the_public_names_are_these() -> None:
    assert sorted(flask_orbro.__all__) == NAMES


def test_every_public_name_is_there() -> None:
    # By the attribute's own lookup: a proxy cannot be looked at outside of a request.
    assert [name for name in NAMES if name not in vars(flask_orbro)] == []


def test_nothing_else_is_public() -> None:
    found = {
        name
        for name, value in vars(flask_orbro).items()
        if not name.startswith("_") and type(value) is not ModuleType
    }
    assert found - set(NAMES) == set()


def test_the_package_is_imported_without_any_optional_package() -> None:
    missing = ("redis", "celery", "flask_admin", "flask_limiter", "limits", "prometheus_client", "gunicorn")
    blocked = "".join(f"sys.modules[{name!r}] = None; " for name in missing)
    code = f"import sys; {blocked}import flask_orbro, flask_orbro.cli, flask_orbro.simulator"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
