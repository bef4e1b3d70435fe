"""The extension object."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakSet

from flask import Flask, current_app, has_request_context, request
from flask_restx import Api

from . import settings
from .api.descriptor import served_descriptor
from .api.inbox import add_handlers
from .api.lifecycle import init_api, register_blueprint
from .api.limits import limit_lifecycle
from .api.problems import init_problems
from .api.swagger import AUTHORIZATIONS
from .assembly import assemble
from .connections import Gathered, async_gather
from .connections.gathering import AsyncCall, gather_in_threads
from .context import callers_organization_id, carried
from .errors import ConfigurationError
from .logs import redact_client_logs
from .metrics import PrometheusMetrics
from .outbound import Outbound
from .platform import AsyncPlatformClient, PlatformClient
from .protocol import bearer_token
from .relaxations import warn_of_relaxations
from .state import EXTENSION, get_state
from .webhooks import Delivery, Handler

H = TypeVar("H", bound=Callable[[Delivery], Any])


class OrbroConnect(Outbound):
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
    :param celery_app: the app's own Celery app, for ``ORBRO_WORKER = "celery"``. None: :attr:`celery_app`.
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
        celery_app: Any = None,
        descriptor_path: str | Path | None = None,
        descriptor_url: str | None = None,
        env: str | None = None,
    ) -> None:
        super().__init__()
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
        self._celery_app = celery_app
        self._handlers: list[Handler] = []
        self._apps: WeakSet[Flask] = WeakSet()
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Read the settings, register the lifecycle blueprint. Runs no SQL and asks nobody.

        :raises ConfigurationError: naming the setting, the fault and the remedy.
        """
        if EXTENSION in app.extensions:
            raise ConfigurationError("Flask-Orbro is already initialised for this app.")
        config = settings.resolve(self._arguments, app.config, app.instance_path)
        state = assemble(app, config, database=self._database, redis=self._redis, celery_app=self._celery_app)
        state.extensions.append(self)
        app.extensions[EXTENSION] = state
        limit_lifecycle(app, register_blueprint(app, state), config)
        add_handlers(app, *self._handlers)
        self._apps.add(app)
        init_problems(app)
        redact_client_logs()
        warn_of_relaxations(config, state.descriptor, state.connections.definitions)

    def init_api(self, api: Api, app: Flask | None = None) -> None:
        """Give a flask-restx API the security definitions, the lifecycle's documentation and problem details.

        :param app: by default the API's own, else the current one.
        :raises DescriptorError: a view that the app has by now, and ``connect.json``, conflict.
        """
        owner = app or (api.app if isinstance(api.app, Flask) else None)
        state = get_state(owner)
        # Else flask-restx leaves out models that another only refers to, and the document is invalid.
        (owner or current_app).config["RESTX_INCLUDE_ALL_MODELS"] = True
        init_api(api, state)
        served_descriptor(owner or current_app)  # for what it raises

    def on(
        self,
        event: str,
        *,
        path: str,
        property: str | None = None,
        value: Any = None,
        max_attempts: int | None = None,
        retry_on: type[Exception] | tuple[type[Exception], ...] = Exception,
        time_limit: float | None = None,
        app: Flask | None = None,
    ) -> Callable[[H], H]:
        """Have a function, sync or async, handle deliveries of an event.

        They are kept in the inbox first, then answered 202, and handled afterwards.

        It may be run more than once, unless all that it changes is in :attr:`Delivery.session`.

        :param event: its name, or a pattern with ``*``, ``?`` and ``[…]``, which the descriptor leaves out.
        :param path: on the app, where the platform delivers to; handlers may share it.
        :param property: only where this member of the payload, or of its ``data``, is ``value``: text, a
            finite number or a truth value, which is no number here.
        :param max_attempts: ``ORBRO_HANDLER_ATTEMPTS``.
        :param retry_on: errors after which it is tried again.
        :param time_limit: ``ORBRO_HANDLER_TIME_LIMIT``, in seconds.
        :param app: for this app alone; by default for every app that this object is initialised for.
        :raises ConfigurationError: one of these cannot be, a path is taken, or ``connect.json`` says
            something else.
        """

        def decorator(function: H) -> H:
            handler = Handler(
                function=function,
                event=event,
                path=path,
                where=None if property is None and value is None else (property, value),
                attempts=max_attempts or 0,
                retry_on=retry_on if isinstance(retry_on, tuple) else (retry_on,),
                time_limit=time_limit or 0,
            )
            for known in self._apps if app is None else (app,):
                add_handlers(known, handler)
            if app is None:
                self._handlers.append(handler)
            return function

        return decorator

    @property
    def celery_app(self) -> Any:
        """The Celery app that handles deliveries: ``celery -A module:name worker``.

        :raises ConfigurationError: unless ``ORBRO_WORKER`` is ``celery``.
        """
        celery_app = get_state().inbox.celery_app
        if celery_app is None:
            raise ConfigurationError("ORBRO_WORKER is not 'celery'; there is no Celery app.")
        return celery_app

    @property
    def client(self) -> PlatformClient:
        """A client that acts for the organization of the authenticated caller, or of the delivery.

        :raises NoCallerError: where no decorator has let a caller of an organization in.
        """
        return get_state().platform.client_for(callers_organization_id())

    def async_client(self) -> AsyncPlatformClient:
        """As :attr:`client`, for async views.

        Flask ends each view's event loop with the view, so connections are kept in one that stays.
        """
        return get_state().platform.async_client_for(callers_organization_id())

    def for_app(self, app: Flask) -> Outbound:
        """Clients, connections and tokens of an app outside of its context: in a program, or a task.

        ``orbro.for_app(app).open_api_client`` and all that :class:`Outbound` has.
        """
        return Outbound(app)

    def gather(self, *, timeout: float = 10.0, **calls: Callable[[], Any]) -> Gathered:
        """Make several calls at once, in threads that know this request and its caller.

        :param timeout: seconds for all of them.
        :param calls: functions without arguments, by name.
        :returns: results and errors by name; one that takes too long is a ``ConnectionUnavailable``.
        """
        get_state()
        return gather_in_threads(calls, timeout, carried)

    async def async_gather(self, *, timeout: float = 10.0, **calls: AsyncCall) -> Gathered:
        """As :meth:`gather`, with awaitables: ``weather=orbro.async_connections["weather"].get("/")``."""
        return await async_gather(timeout=timeout, **calls)

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
