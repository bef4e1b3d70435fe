"""Every public name. :mod:`flask_orbro` offers them; this module is read when the first is asked for."""

from .api.body import load_body
from .api.problems import problem_response
from .api.swagger import answers_problems, schema_model, schema_params
from .client_info import ClientInfo, ClientInfoDataStore
from .connections import AsyncConnection, Connection, ConnectionResponse, Gathered
from .context import current_delivery, current_identity, current_organization
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
    CallFailed,
    ConfigurationError,
    ConnectionFailed,
    ConnectionMisconfigured,
    ConnectionRateLimited,
    ConnectionRefused,
    ConnectionUnavailable,
    DescriptorError,
    NoCallerError,
    NotAllowed,
    NotAuthenticated,
    NotInitializedError,
    OrbroError,
    PlatformError,
    PlatformInvalidResponse,
    PlatformRateLimited,
    PlatformRefused,
    PlatformUnavailable,
    ProblemError,
)
from .extension import OrbroConnect
from .identity import ConnectAppIdentity, OpenApiIdentity, UserIdentity
from .installation import OrganizationInfo
from .models import ConnectAppClaimMixin, ConnectAppClientInfoMixin, ConnectAppDeliveryMixin
from .platform import AsyncPlatformClient, ConnectAppToken, PlatformClient, PlatformResponse, TokenStore
from .signals import app_disabled, app_enabled, app_erased, app_installed, app_uninstalled, delivery_dead
from .token_stores import DictTokenDataStore, RedisTokenDataStore
from .webhooks import Delivery

__all__ = [
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
