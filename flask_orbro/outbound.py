"""What an app calls others with, of the current app or of one that is named."""

from __future__ import annotations

from flask import Flask

from .client_info import ClientInfoDataStore
from .connections import Connections
from .platform import AsyncPlatformClient, PlatformClient, TokenStore, TokenUtil
from .state import OrbroState, get_state


class Outbound:
    """Clients of the platform and of other back ends, and what they stand on.

    :param app: whose; by default that of the context, so they are to be had inside of one alone.
    """

    def __init__(self, app: Flask | None = None) -> None:
        self._of = app

    def _state(self, app: Flask | None = None) -> OrbroState:
        return get_state(app or self._of)

    def client_for(
        self,
        organization_id: str | None = None,
        *,
        subdomain: str | None = None,
        user_id: str | None = None,
        app: Flask | None = None,
    ) -> PlatformClient:
        """A client that acts for an organization, anywhere: name it, its subdomain, or who installed it.

        It may be kept: each call looks whether the organization may still be acted for.

        :param app: needed outside of an app context.
        :raises NotAllowed: where it has not installed the app.
        """
        platform = self._state(app).platform
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
        """As :meth:`client_for`, to be awaited.

        Outside of a request each event loop keeps connections of its own.
        """
        platform = self._state(app).platform
        return platform.async_client_for(
            organization_id or platform.organization_id_of(subdomain=subdomain, user_id=user_id)
        )

    @property
    def open_api_client(self) -> PlatformClient:
        """A client that acts with the developer's own Open API token."""
        return self._state().platform.open_api_client()

    @property
    def async_open_api_client(self) -> AsyncPlatformClient:
        """As :attr:`open_api_client`, to be awaited."""
        return self._state().platform.async_open_api_client()

    @property
    def connections(self) -> Connections:
        """Other back ends by name: ``orbro.connections["weather"].get("/weather")``."""
        return self._state().connections.sync

    @property
    def async_connections(self) -> Connections:
        """As :attr:`connections`, to be awaited."""
        return self._state().connections.asynchronous

    @property
    def client_info_store(self) -> ClientInfoDataStore:
        """Who installed the app: ``get_by_organization_id``, ``get_all``, ``add``, ``commit`` and more."""
        return self._state().client_info

    @property
    def client_info_datastore(self) -> ClientInfoDataStore:
        """:attr:`client_info_store`, by the name that the old SDK has for it."""
        return self.client_info_store

    @property
    def token_store(self) -> TokenStore:
        """The app's own tokens: ``get_token``, ``set_token(token, expires_in=seconds)``, ``delete``."""
        return self._state().platform.tokens.store

    @property
    def token_util(self) -> TokenUtil:
        """Makes app tokens by hand."""
        return self._state().platform.token_util
