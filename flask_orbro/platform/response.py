"""What a call gives back: the HTTP library's response, or a typed error."""

from __future__ import annotations

import time
from typing import Any

import httpx2

from ..errors import PlatformInvalidResponse, PlatformRateLimited, PlatformRefused, PlatformUnavailable
from ..verdicts import error_code, retry_after


class PlatformResponse(httpx2.Response):
    """The HTTP library's response; only its errors are this library's own."""

    def raise_for_status(self) -> PlatformResponse:
        """:returns: itself, where the platform answered 1xx, 2xx or 304.

        :raises PlatformInvalidResponse: any other 3xx: no redirect is followed.
        :raises PlatformRateLimited: 429.
        :raises PlatformRefused: any other 4xx.
        :raises PlatformUnavailable: 5xx.
        """
        if self.status_code < 300 or self.status_code == 304:
            return self
        if self.status_code < 400:
            raise PlatformInvalidResponse(
                f"The platform answered {self.status_code}: it leads elsewhere, and that is not followed."
            )
        if self.status_code == 429:
            raise PlatformRateLimited(
                "The platform limits this organization's calls.",
                retry_after=retry_after(self.headers, time.time()) or 1,
            )
        if self.status_code >= 500:
            raise PlatformUnavailable(
                f"The platform answered {self.status_code}.",
                retry_after=retry_after(self.headers, time.time()) or 1,
            )
        raise PlatformRefused(
            f"The platform answered {self.status_code}.",
            status=self.status_code,
            error_code=error_code(self.content) if self.is_stream_consumed else None,
            request_id=self.headers.get("x-request-id"),
        )

    def json(self, **options: Any) -> Any:
        """The body, read as JSON.

        :raises PlatformInvalidResponse: a ``ValueError`` too, where it is none: an empty one, or a page.
        """
        try:
            return super().json(**options)
        except (ValueError, RecursionError):
            kind = self.headers.get("content-type", "no type")
            asked = f"{self.request.method} {self.request.url.path}"
            raise PlatformInvalidResponse(
                f"The platform answered {asked} with {self.status_code} and no JSON, but {kind:.80}."
            ) from None


def as_platform_response(response: httpx2.Response) -> PlatformResponse:
    """The same object: nothing of it is copied, only its class is told apart."""
    response.__class__ = PlatformResponse
    assert isinstance(response, PlatformResponse)
    return response
