"""The extension object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Flask, current_app, has_request_context, request
from flask_restx import Api

from . import config as settings
from .api import init_api, register_blueprint
from .assembly import assemble
from .config import Config
from .context import NoCallerError, get_organization
from .errors import ConfigurationError
from .limits import limit_lifecycle
from .logs import get_logger, redact_client_logs
from .metrics import PrometheusMetrics
from .platform import AsyncPlatformClient, PlatformClient, TokenStore, TokenUtil
from .problems import init_problems
from .protocol import bearer_token
from .state import EXTENSION, get_state
from .swagger import AUTHORIZATIONS

logger = get_logger(__name__)


class OrbroConnect:
    """Makes a Flask app a Connect app.

    Every argument is optional and wins over the configuration; the names are the old SDK's.

    :param app: initialise it at once; else call :meth:`init_app`.
    :param client_id: ``ORBRO_CLIENT_ID``.
    :param client_secret: ``ORBRO_CLIENT_SECRET``.
    :param open_api_token: ``ORBRO_OPEN_API_TOKEN``.
    :param client_info_model: the app's own model with :class:`ConnectAppClientInfoMixin`.
    :param db: a Flask-SQLAlchemy object.
    :param db_session_maker: a plain SQLAlchemy ``sessionmaker``. Neither: SQLite in the instance folder.
    :param redis: a redis-py client. None, and no ``ORBRO_REDIS_URL``: memory.
    :param descriptor_path: ``ORBRO_DESCRIPTOR``.
    :param descriptor_url: ``ORBRO_DESCRIPTOR_URL``, the path at which the descriptor is served.
    :param env: ``ORBRO_ENV``: ``dev``, ``stg`` or ``prod``.
    """

    #: Security definitions of the four credentials, for ``Api(authorizations=…)``.
    authorizations = AUTHORIZATIONS

    def __init__(
        self,
        app: Flask | None = None,
        *,
        client_id: str | None = None,
        client_secret: str | None = None,
        open_api_token: str | None = None,
        client_info_model: Any = None,
        db: Any = None,
        db_session_maker: Any = None,
        redis: Any = None,
        descriptor_path: str | Path | None = None,
        descriptor_url: str | None = None,
        env: str | None = None,
    ) -> None:
        self._arguments = {
            "client_id": client_id,
            "client_secret": client_secret,
            "open_api_token": open_api_token,
            "descriptor": None if descriptor_path is None else str(descriptor_path),
            "descriptor_url": descriptor_url,
            "env": env,
        }
        self._database = {
            "db": db,
            "db_session_maker": db_session_maker,
            "client_info_model": client_info_model,
        }
        self._redis = redis
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Read the settings, register the lifecycle blueprint. Runs no SQL and asks nobody.

        :raises ConfigurationError: naming the setting, the fault and the remedy.
        """
        if EXTENSION in app.extensions:
            raise ConfigurationError("Flask-Orbro is already initialised for this app.")
        config = settings.resolve(self._arguments, app.config, app.instance_path)
        state = assemble(app, config, database=self._database, redis=self._redis)
        app.extensions[EXTENSION] = state
        limit_lifecycle(app, register_blueprint(app, state), config)
        init_problems(app)
        redact_client_logs()
        _warn_of_relaxations(config)

    def init_api(self, api: Api, app: Flask | None = None) -> None:
        """Give a flask-restx API the security definitions, the lifecycle's documentation and problem details.

        :param app: by default the API's own, else the current one.
        """
        owner = app or (api.app if isinstance(api.app, Flask) else None)
        state = get_state(owner)
        # Else flask-restx leaves out models that another only refers to, and the document is invalid.
        (owner or current_app).config["RESTX_INCLUDE_ALL_MODELS"] = True
        init_api(api, state)

    @property
    def client(self) -> PlatformClient:
        """A client that acts for the organization of the authenticated caller, or of the delivery.

        :raises NoCallerError: where no decorator has let a caller of an organization in.
        """
        return get_state().platform.client_for(_callers_organization_id())

    def async_client(self) -> AsyncPlatformClient:
        """As :attr:`client`, for async views."""
        return get_state().platform.async_client_for(_callers_organization_id())

    def client_for(
        self,
        organization_id: str | None = None,
        *,
        subdomain: str | None = None,
        user_id: str | None = None,
        app: Flask | None = None,
    ) -> PlatformClient:
        """A client that acts for an organization, anywhere: name it, its subdomain, or who installed it.

        :param app: needed outside of an app context.
        :raises NotAllowed: where it has not installed the app.
        """
        platform = get_state(app).platform
        return platform.client_for(
            organization_id or platform.organization_id_of(subdomain=subdomain, user_id=user_id)
        )

    def async_client_for(
        self,
        organization_id: str | None = None,
        *,
        subdomain: str | None = None,
        user_id: str | None = None,
        app: Flask | None = None,
    ) -> AsyncPlatformClient:
        """As :meth:`client_for`, to be awaited."""
        platform = get_state(app).platform
        return platform.async_client_for(
            organization_id or platform.organization_id_of(subdomain=subdomain, user_id=user_id)
        )

    @property
    def open_api_client(self) -> PlatformClient:
        """A client that acts with the developer's own Open API token."""
        return get_state().platform.open_api_client()

    @property
    def async_open_api_client(self) -> AsyncPlatformClient:
        """As :attr:`open_api_client`, to be awaited."""
        return get_state().platform.async_open_api_client()

    @property
    def token_store(self) -> TokenStore:
        """Where the app's own tokens are kept: ``get_token``, ``set_token``, ``delete``."""
        return get_state().platform.tokens.store

    @property
    def token_util(self) -> TokenUtil:
        """Makes app tokens by hand."""
        return get_state().platform.token_util

    @property
    def metrics_registry(self) -> Any:
        """The app's own Prometheus ``CollectorRegistry``.

        :raises ConfigurationError: unless ``ORBRO_METRICS`` is on.
        """
        metrics = get_state().metrics
        if not isinstance(metrics, PrometheusMetrics):
            raise ConfigurationError("ORBRO_METRICS is off; switch it on to count anything.")
        return metrics.registry

    def forget(self, token: str | None = None) -> None:
        """Drop what is remembered about a caller's token, in every process that shares a Redis.

        :param token: by default the bearer token of the current request.
        """
        if token is None:
            token = bearer_token(request.headers.get("Authorization", ""))
        if token is not None:
            get_state().authenticator.forget(token)

    def on_logout(self, sender: Any = None, **_: Any) -> None:
        """:meth:`forget` as a receiver: ``user_logged_out.connect(orbro.on_logout)``, with any blinker signal
        that is sent during the request that logs out.
        """
        if has_request_context():
            self.forget()


def _callers_organization_id() -> str:
    organization = get_organization()
    if organization is None:
        raise NoCallerError(
            "This caller belongs to no organization. Use 'orbro.client_for(organization_id)' or "
            "'orbro.open_api_client'."
        )
    return organization.organization_id


def _warn_of_relaxations(config: Config) -> None:
    if config.env == "dev":
        return
    if config.install_proof == "none":
        logger.warning(
            "ORBRO_INSTALL_PROOF is 'none': whoever installs first for an organization is believed."
        )
    if config.trust_enabled_disabled:
        logger.warning("ORBRO_TRUST_ENABLED_DISABLED is on: anybody can say that an app is disabled.")
    if not config.webhook_require_exp:
        logger.warning("ORBRO_WEBHOOK_REQUIRE_EXP is off: a captured webhook token never expires.")
    if config.platform_scheme == "http":
        logger.warning("ORBRO_PLATFORM_SCHEME is 'http': credentials travel in clear.")
