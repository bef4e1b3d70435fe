"""Flask-Orbro: write ORBRO Connect apps with Flask."""

from .context import (
    NoCallerError,
    current_delivery,
    current_identity,
    current_organization,
)
from .decorators import (
    any_of,
    authenticate_any_of,
    authenticate_connect_app,
    authenticate_open_api,
    authenticate_user,
    authenticate_webhook,
    connect_required,
    open_api_required,
    user_required,
    webhook_required,
)
from .errors import (
    ConfigurationError,
    DescriptorError,
    NotAllowed,
    NotAuthenticated,
    NotInitializedError,
    OrbroError,
    PlatformError,
    PlatformRateLimited,
    PlatformRefused,
    PlatformUnavailable,
    ProblemError,
)
from .extension import OrbroConnect
from .identity import ConnectAppIdentity, OpenApiIdentity, UserIdentity
from .installation import OrganizationInfo
from .models import ConnectAppClaimMixin, ConnectAppClientInfoMixin
from .platform import AsyncPlatformClient, ConnectAppToken, PlatformClient, PlatformResponse
from .problems import problem_response
from .signals import app_disabled, app_enabled, app_installed, app_uninstalled
from .swagger import schema_model
from .webhooks import Delivery

__all__ = [
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
