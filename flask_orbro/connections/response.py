"""What a call by a connection gives back: the HTTP library's response, or a typed error."""

from __future__ import annotations

import time
from typing import Any, Self

import httpx2

from ..errors import (
    ConnectionFailed,
    ConnectionMisconfigured,
    ConnectionRateLimited,
    ConnectionRefused,
    ConnectionUnavailable,
)
from ..verdicts import retry_after


class ConnectionResponse(httpx2.Response):
    """The HTTP library's response; only :meth:`raise_for_status` has errors of our own."""

    #: The name of the connection.
    connection: str

    @classmethod
    def of(cls, response: httpx2.Response, connection: str) -> Self:
        """The same object: nothing of it is copied, only its class is told apart."""
        response.__class__ = cls
        assert isinstance(response, cls)
        response.connection = connection
        return response

    def __getstate__(self) -> dict[str, Any]:
        # What goes to another process, as an error of a task does, shows no credential.
        hidden: dict[str, Any] = {"_request": None, "next_request": None, "history": []}
        return super().__getstate__() | hidden

    def raise_for_status(self) -> Self:
        """:returns: itself, where the back end answered 1xx, 2xx or 304.

        :raises ConnectionMisconfigured: any other 3xx: no redirect is followed.
        :raises ConnectionRateLimited: 429.
        :raises ConnectionRefused: any other 4xx.
        :raises ConnectionUnavailable: 5xx.
        """
        if self.status_code < 300 or self.status_code == 304:
            return self
        raise self.as_error()

    def as_error(self) -> ConnectionFailed:
        """The error for a redirect, a 4xx or a 5xx."""
        said = f"The connection '{self.connection}' was answered {self.status_code}."
        whose: dict[str, Any] = {"connection": self.connection, "answer": self}
        if self.status_code < 400:
            return ConnectionMisconfigured(f"{said} It leads elsewhere, and that is not followed.", **whose)
        wanted = retry_after(self.headers, time.time()) or 1
        if self.status_code == 429:
            return ConnectionRateLimited(said, retry_after=wanted, **whose)
        if self.status_code >= 500:
            return ConnectionUnavailable(said, status=self.status_code, retry_after=wanted, **whose)
        return ConnectionRefused(said, status=self.status_code, **whose)

    def json_object(self) -> dict[str, Any]:
        """The body, a JSON object.

        :raises ConnectionUnavailable: where it is something else, such as the page of a proxy.
        """
        try:
            document = self.json()
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict):
            return document
        said = f"The connection '{self.connection}' was answered with something else than a JSON object."
        raise ConnectionUnavailable(
            said, connection=self.connection, status=self.status_code, answer=self
        ) from None
