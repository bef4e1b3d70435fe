"""Why there is no answer, in words that show neither a URL nor a secret."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import httpx2

#: The first that fits counts: the more exact ones stand before what they are kinds of.
_WORDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
    (ssl.SSLError, "no TLS can be agreed on"),
    ((socket.gaierror, UnicodeError), "its name is not known"),
    (ConnectionRefusedError, "the connection is refused"),
    ((TimeoutError, httpx2.TimeoutException), "it takes too long"),
    ((httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError), "the connection broke"),
)


def why(error: BaseException) -> str:
    """The kind of a failure, such as ``it takes too long``; else the name of the error."""
    causes = list(_causes(error))
    for kinds, words in _WORDS:
        if any(isinstance(cause, kinds) for cause in causes):
            return words
    return type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and all that it came from, in whatever way that was said."""
    following: BaseException | None = error
    while following is not None:
        if isinstance(following, BaseExceptionGroup):
            for one in following.exceptions:
                yield from _causes(one)
        yield following
        following = following.__cause__ or following.__context__
