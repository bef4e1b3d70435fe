"""Which URLs a connection may have, and which it may be asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx2

from ..checks import is_loopback, text
from ..http.outgoing import is_path
from ..http.pool import parsed_url

#: Labels with dots between them (RFC 1123, section 2.1), or an IPv6 address.
_HOST = re.compile(rb"(?=.{1,254}\Z)[^.]{1,63}(?:\.[^.]{1,63})*\.?|[0-9a-f:.]*:[0-9a-f:.]*", re.IGNORECASE)


def parse_url(written: str) -> httpx2.URL:
    """A whole URL that can be called. :raises ValueError: where it is none; the message does not show it."""
    try:
        url = parsed_url(written)
    except httpx2.InvalidURL:
        url = httpx2.URL()
    odd = any(c in written for c in " \\\t\r\n") or not 0 < (url.port or 1) < 65536
    odd |= not _HOST.fullmatch(url.raw_host)
    if url.scheme not in ("http", "https") or not url.host or odd:
        raise ValueError("must be a URL such as https://api.example.com/v1")
    if "@" in written.split("/")[2]:
        raise ValueError("must have no user name and no password; credentials belong under 'auth'")
    return url


def origin_of(url: httpx2.URL) -> tuple[str, str, int | None]:
    """Scheme, host and port; the scheme's own port is ``None``."""
    usual = {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, None if url.port == usual else url.port


def url_check(*, allow_http: bool) -> Callable[[Any], str]:
    """A check for the URL of a server that is shown credentials."""

    def check(value: Any) -> str:
        written = text(value)
        url = parse_url(written)
        if "#" in written:
            raise ValueError("must have no fragment")
        if url.scheme == "http" and not (allow_http or is_loopback(url.host)):
            raise ValueError(
                "must begin with https, for credentials would travel in clear; 'allow_http': True says "
                "that they may"
            )
        return written

    return check


def base_url_check(*, allow_http: bool) -> Callable[[Any], str]:
    """A check for what all paths of a connection are put behind."""
    check_url = url_check(allow_http=allow_http)

    def check(value: Any) -> str:
        url = check_url(value)
        if "?" in url:
            raise ValueError("must have no query")
        return url.rstrip("/")

    return check


def path_check(value: Any) -> str:
    """A path on the back end, such as ``/health``."""
    path = text(value)
    if not is_path(path):
        raise ValueError("must be a path that begins with one '/', such as /health")
    return path
