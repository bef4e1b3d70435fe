"""Requests, made of what a caller gives and checked whole before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2

from ..errors import InvalidCall
from .options import check_options
from .pool import parsed_url
from .retry import is_repeatable
from .upload import guard_body

#: Longest path with its query, and most of headers, in bytes; servers take less.
MAX_HEAD = 65_536
#: URLs up to this length are parsed once and remembered.
_SHORT = 256
#: A path, and its query: one slash, nothing that ends or begins another part of a URL.
_PATH = re.compile(r"/(?!/)[^\s\\#\x00-\x1f\x7f-\x9f\ud800-\udfff]*")
#: A segment of dots alone, however it is written, which leads out of the folder that it is in.
_DOTS = re.compile(r"(?:/|%2f|%5c)(?:\.|%2e){1,2}(?:[/;]|%2f|%5c|%3b|\Z)", re.IGNORECASE)
_METHOD = re.compile(r"[A-Za-z]{1,20}")
_HEADER_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_HEADERS = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]|\A[ \t]|[ \t]\Z")


@dataclass(frozen=True)
class Outgoing:
    """A request that is made once and sent as often as need be: anew, it would have the rest of a stream.

    :param repeatable: whether it may be sent twice.
    """

    request: httpx2.Request
    repeatable: bool


def has_dots(path: str) -> bool:
    """Whether a path, or a URL, has a segment ``.`` or ``..`` before its query."""
    return _DOTS.search(path.partition("?")[0]) is not None


def is_path(path: Any) -> bool:
    """Whether it is a path that can be put behind a URL, and stays below it."""
    return isinstance(path, str) and _PATH.fullmatch(path) is not None and not has_dots(path)


def path_url(origin: str, path: str) -> httpx2.URL:
    """:raises InvalidCall: where a path could lead elsewhere, or cannot be sent."""
    if not is_path(path):
        raise InvalidCall(
            "A path of a call begins with one '/' and has no space, control character, backslash or '#', and "
            "no segment '.' or '..'. What is put into one is quoted: urllib.parse.quote(name, safe='')."
        )
    try:
        return (parsed_url if len(path) <= _SHORT else httpx2.URL)(origin + path)
    except httpx2.InvalidURL as error:
        raise InvalidCall(f"This path cannot be part of a URL: {error}") from None


def make_request(
    client: httpx2.Client, method: str, url: httpx2.URL, *, retry: bool | None = None, **options: Any
) -> Outgoing:
    """
    :param client: has the headers and the timeout of every request.
    :param retry: whether it may be sent twice, where the caller says so.
    :param options: as of :meth:`httpx2.Client.build_request`.
    :raises InvalidCall: where it cannot be sent as it is.
    :raises ValueError: where it is none.
    """
    check_options(options)
    if not isinstance(method, str) or not _METHOD.fullmatch(method):
        raise ValueError(f"This is no method of a call: {method!r:.40}")
    if isinstance(options.get("files"), Iterator):
        options["files"] = list(options["files"])
    try:
        params = options.pop("params", None)
        if url.query and params:
            url = url.copy_merge_params(params)
        elif params:  # with empty ones, too, the library would drop the path's own
            options["params"] = params
        request = client.build_request(method, url, **options)
    except (httpx2.InvalidURL, UnicodeError):
        # What they say shows what cannot be sent, which may be secret.
        raise InvalidCall("A parameter, header or body of this call cannot be encoded.") from None
    if len(request.url.raw_path) > MAX_HEAD:
        raise InvalidCall(f"The path of this call with its query is longer than {MAX_HEAD:,} bytes.")
    if "headers" in options or "cookies" in options:
        _check_headers(request.headers)
    whole = guard_body(request, options.get("content"), options.get("files"))
    return Outgoing(request, whole and is_repeatable(request.method, request.headers, retry))


def _check_headers(headers: httpx2.Headers) -> None:
    for name, value in headers.raw:
        if not _HEADER_NAME.fullmatch(name) or _NOT_IN_HEADERS.search(value):
            # Without the value, which may be secret.
            raise InvalidCall("A header of this call has a character that none may have.")
    if sum(len(name) + len(value) for name, value in headers.raw) > MAX_HEAD:
        raise InvalidCall(f"The headers of this call are longer than {MAX_HEAD:,} bytes.")
