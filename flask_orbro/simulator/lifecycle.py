"""Calls from the platform to the apps: lifecycle and webhooks, over real HTTP."""

from __future__ import annotations

import json
import secrets
import ssl
import time
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx2

from .errors import AppCallError, FieldError, SimulatorError
from .models import Installation, Outcome, organization_label, stable_id
from .tokens import WEBHOOK_TOKEN_LIFE, Tokens

Activation = Literal["before", "after"]


class Lifecycle(Tokens):
    """What the platform does to apps.

    No lock is held while an app is called: it may well call the platform back from its handler.

    :param app_timeout: seconds that an app has for its answer.
    """

    def __init__(self, *, app_timeout: float = 30.0, **state: Any) -> None:
        super().__init__(**state)
        self._app_timeout = app_timeout
        self._client: httpx2.Client | None = None

    def install(
        self,
        app_url: str,
        subdomain: str,
        client_id: str | None = None,
        *,
        client_secret: str | None = None,
        activate: Activation = "before",
        send_subdomain: bool = True,
        send_user: bool = True,
        shared_secret: str | None = None,
    ) -> Outcome:
        """Install an app, or install it again with a new secret.

        Reads ``{app_url}/connect.json`` and POSTs to its ``installed`` path. Paths are taken below
        ``app_url``; the descriptor's ``baseUrl`` is ignored, because an app under development
        seldom runs where it says it does. Once the new secret counts, the old one does not. When
        the app cannot be reached or answers 300 or more, the old installation stays.

        :param app_url: where the app is reached, such as ``http://127.0.0.1:5000``.
        :param subdomain: the organization; it is created on first use.
        :param client_id: the ``iss`` that the app's tokens must have; ``None``: any.
        :param client_secret: what the token exchange must be given; ``None``: anything.
        :param activate: whether the platform accepts the secret already ``"before"`` the app has
            answered or only ``"after"``. Which of them the real one does is not known.
        :param send_subdomain: whether the body names the subdomain.
        :param send_user: whether the body names the installing user.
        :param shared_secret: the new secret; random by default.
        :returns: the app's answer.
        :raises AppCallError: the app or its descriptor cannot be used.
        :raises FieldError: an argument is wrong.
        """
        if activate not in ("before", "after"):
            raise FieldError("activate", "must be 'before' or 'after'")
        app_url, subdomain = _app_url(app_url), organization_label(subdomain)
        descriptor = self.descriptor(app_url)
        target = _lifecycle_url(app_url, descriptor, "installed")
        organization = self.organization(subdomain)
        row = Installation(
            id=stable_id("installation", subdomain, app_url),
            app_url=app_url,
            organization_id=organization.id,
            installed_user_id=str(self.user(organization)["id"]),
            shared_secret=shared_secret or secrets.token_urlsafe(32),
            client_id=client_id,
            client_secret=client_secret,
            descriptor=descriptor,
        )
        body = {"shared_secret": row.shared_secret, "organization_id": row.organization_id}
        if send_user:
            body["user_id"] = row.installed_user_id
        if send_subdomain:
            body["subdomain"] = subdomain
        if activate == "after":
            outcome = self._post(target, body)
            if outcome.ok:
                self.put_installation(subdomain, row)
            return outcome
        before = self.put_installation(subdomain, row)
        kept = False
        try:
            outcome = self._post(target, body)
            kept = outcome.ok
        finally:
            if not kept:
                self.withdraw_installation(subdomain, row, before)
        return outcome

    def uninstall(self, app_url: str | None, subdomain: str, *, revoke: bool = True) -> Outcome:
        """Stop accepting the app's secret, then POST to its ``uninstalled`` path.

        :param app_url: which app; ``None``: the organization's only one.
        :param revoke: ``False`` keeps the secret accepted: an uninstall that cannot be proven.
        :returns: the app's answer.
        :raises SimulatorError: the app was never installed.
        :raises AppCallError: the app cannot be reached; it counts as uninstalled nevertheless.
        """
        row = self.installation(subdomain, app_url)
        target = _lifecycle_url(row.app_url, row.descriptor, "uninstalled")
        if revoke:
            self.change_installation(subdomain, row.app_url, active=False)
        return self._post(target, {"organization_id": row.organization_id})

    def enable(self, app_url: str | None, subdomain: str) -> Outcome:
        """POST to the app's ``enabled`` path. Arguments and errors as for :meth:`uninstall`."""
        return self._switch(app_url, subdomain, enabled=True)

    def disable(self, app_url: str | None, subdomain: str) -> Outcome:
        """POST to the app's ``disabled`` path. Arguments and errors as for :meth:`uninstall`."""
        return self._switch(app_url, subdomain, enabled=False)

    def webhook(
        self,
        subdomain: str,
        event: str,
        data: Any = None,
        path: str | None = None,
        *,
        app_url: str | None = None,
        older_sub: bool = False,
        expires_in: float = WEBHOOK_TOKEN_LIFE,
        token: str | None = None,
        payload: Any = None,
        force: bool = False,
    ) -> Outcome:
        """POST ``{"event_name", "organization_id", "data"}`` to the app, with a webhook token.

        :param event: name of the event, such as ``device:device_updated``.
        :param data: the event's own data.
        :param path: where to, below the app's URL; ``None``: the ``callback_api`` of the first of
            the descriptor's webhooks with this event. Their ``property`` filters are not applied.
        :param app_url: which app; ``None``: the organization's only one.
        :param older_sub: see :meth:`webhook_token`; ``expires_in`` too.
        :param token: send this token and make none.
        :param payload: send this body in place of the whole usual one.
        :param force: deliver even to an app that is uninstalled. A disabled one gets its
            deliveries anyway: what the real platform does with those is not known.
        :returns: the app's answer.
        :raises SimulatorError: no such webhook is registered, or the app is not installed.
        :raises AppCallError: the app cannot be reached.
        """
        row, target = self.delivery_target(subdomain, event, path, app_url, force=force)
        if token is None:
            token = self.webhook_token(subdomain, row.app_url, older_sub=older_sub, expires_in=expires_in)
        if payload is None:
            data = {} if data is None else data
            payload = {"event_name": event, "organization_id": row.organization_id, "data": data}
        return self._post(target, payload, {"Authorization": f"Bearer {token}"})

    def delivery_target(
        self, subdomain: str, event: str, path: str | None, app_url: str | None, *, force: bool = False
    ) -> tuple[Installation, str]:
        """
        :returns: the installation, and the URL that the event is delivered to; as :meth:`webhook`.
        :raises SimulatorError: no such webhook is registered, or the app is not installed.
        """
        row = self.installation(subdomain, app_url)
        if not (row.active or force):
            raise SimulatorError(f"{row.app_url} is no longer installed in {subdomain}")
        return row, _below(row.app_url, path or _callback(row, event))

    def descriptor(self, app_url: str) -> dict[str, Any]:
        """
        :returns: the app's ``connect.json`` as it is now.
        :raises AppCallError: it cannot be had.
        """
        url = f"{app_url}/connect.json"
        outcome = self._call("GET", url)
        if outcome.status != 200:
            raise AppCallError(f"{url} answered {outcome.status}, not 200")
        if not isinstance(outcome.body, dict):
            raise AppCallError(f"{url} did not answer a JSON object")
        return outcome.body

    def _switch(self, app_url: str | None, subdomain: str, *, enabled: bool) -> Outcome:
        row = self.installation(subdomain, app_url)
        event = "enabled" if enabled else "disabled"
        target = _lifecycle_url(row.app_url, row.descriptor, event)
        self.change_installation(subdomain, row.app_url, enabled=enabled)
        return self._post(target, {"organization_id": row.organization_id})

    def _post(self, url: str, body: Any, headers: Mapping[str, str] | None = None) -> Outcome:
        # Encoded here: the client's own encoder refuses lone surrogates, which apps may well get.
        return self._post_text(url, json.dumps(body), headers or {})

    def _post_text(self, url: str, content: str, headers: Mapping[str, str]) -> Outcome:
        sent = {"Content-Type": "application/json", **headers}
        return self._call("POST", url, content=content, headers=sent)

    def _call(self, method: str, url: str, **request: Any) -> Outcome:
        start = time.perf_counter()
        try:
            response = self._http().request(method, url, **request)
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise AppCallError(f"{method} {url} failed: {reason}") from error
        elapsed = time.perf_counter() - start
        return Outcome(url, response.status_code, _content(response), elapsed)

    def _http(self) -> httpx2.Client:
        # No idle connections: an app under test must be able to stop without waiting for us,
        # and nothing is left open should nobody close this client. No proxies: apps are local.
        with self.lock:
            if self._client is None:
                self._client = httpx2.Client(
                    timeout=self._app_timeout,
                    limits=httpx2.Limits(max_keepalive_connections=0),
                    trust_env=False,
                    verify=_tls(),
                )
            return self._client


@cache
def _tls() -> ssl.SSLContext:
    # Reading the system's certificates takes tens of milliseconds: once is enough.
    return ssl.create_default_context()


def _app_url(app_url: str) -> str:
    try:
        parts = urlsplit(app_url)
        usable = parts.scheme in ("http", "https") and parts.hostname
    except ValueError:
        usable = None
    if not usable or parts.query or parts.fragment:
        raise FieldError("app_url", f"must look like http://127.0.0.1:5000, got {app_url!r}")
    return app_url.rstrip("/")


def _below(app_url: str, reference: str) -> str:
    """:returns: ``app_url`` and the path of ``reference``, which may be a whole URL."""
    try:
        parts = urlsplit(reference)
    except ValueError:
        raise AppCallError(f"the path {reference!r} cannot be used") from None
    path = parts.path if parts.scheme else reference
    if parts.scheme and parts.query:
        path = f"{path}?{parts.query}"
    return f"{app_url}/{path.lstrip('/')}"


def _lifecycle_url(app_url: str, descriptor: Mapping[str, Any], event: str) -> str:
    lifecycle = descriptor.get("lifecycle")
    path = lifecycle.get(event) if isinstance(lifecycle, dict) else None
    if not isinstance(path, str) or not path:
        raise AppCallError(f"{app_url}/connect.json has no lifecycle path {event!r}")
    return _below(app_url, path)


def _callback(row: Installation, event: str) -> str:
    modules = row.descriptor.get("modules")
    webhooks = modules.get("webhooks") if isinstance(modules, dict) else None
    for entry in webhooks if isinstance(webhooks, list) else ():
        if isinstance(entry, dict) and entry.get("event_name") == event:
            callback = entry.get("callback_api")
            if isinstance(callback, str) and callback:
                return callback
    raise SimulatorError(f"no webhook registered for {event!r} by {row.app_url}: give a path")


def _content(response: httpx2.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return response.text
