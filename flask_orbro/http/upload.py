"""Bodies that are sent again whole, or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any

import httpx2

MISFIT = "The body of this call does not fit its headers."


class CannotRewind(Exception):
    """A body that can be read once is wanted again."""


class StreamedBody(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A body that is read as it is sent, which happens twice after a refused token or a broken connection.

    :param rewind: makes it ready to be read from its beginning; ``None``: the second reading raises
        :class:`CannotRewind`.
    :param length: what its headers say, in bytes; ``None``: nothing.
    """

    def __init__(self, stream: Any, rewind: Callable[[], object] | None, length: int | None) -> None:
        self._stream = stream
        self._rewind = rewind
        self._length = length
        self._begun = False
        self._read = 0

    @property
    def is_asynchronous(self) -> bool:
        """Whether it can be read in an event loop alone."""
        return not isinstance(self._stream, httpx2.SyncByteStream)

    def __iter__(self) -> Iterator[bytes]:
        self._begin()
        for part in self._stream:
            yield self._counted(part)
        self._end()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._begin()
        if self.is_asynchronous:
            async for part in self._stream:
                yield self._counted(part)
        else:
            for part in self._stream:
                yield self._counted(part)
        self._end()

    def _begin(self) -> None:
        if self._begun:
            if self._rewind is None:
                raise CannotRewind
            self._rewind()
        self._begun, self._read = True, 0

    def _counted(self, part: bytes) -> bytes:
        self._read += len(part)
        if self._length is not None and self._read > self._length:
            raise ValueError(MISFIT)
        return part

    def _end(self) -> None:
        # A file may have become shorter since its length was looked at.
        if self._length is not None and self._read < self._length:
            raise ValueError(MISFIT)


def guard_body(request: httpx2.Request, content: Any, files: Any) -> bool:
    """See to it that a body is not sent again in part: the HTTP library would send what is left of it.

    :param content: what the body was made of, if not of ``files``.
    :returns: whether it can be sent again.
    :raises ValueError: where it has another length than its headers say.
    """
    stream: Any = request.stream
    length = _declared_length(request.headers)
    if isinstance(stream, httpx2.ByteStream):
        if length not in (None, len(request.content)):
            raise ValueError(MISFIT)
        return True
    rewind = _multipart_rewind(files) if content is None else _rewind(content)
    request.stream = StreamedBody(stream, rewind, length)
    return rewind is not None


def _declared_length(headers: httpx2.Headers) -> int | None:
    said = headers.get("content-length")
    if said is None or (said.isascii() and said.isdigit()):
        return None if said is None else int(said)
    raise ValueError(MISFIT)


def _rewind(content: Any) -> Callable[[], object] | None:
    if _is_seekable(content):
        start = content.tell()
        return lambda: content.seek(start)
    iterator = iter(content) if isinstance(content, Iterable) else aiter(content)
    # What is its own iterator ends once; a list begins anew.
    return None if iterator is content else _nothing


def _multipart_rewind(files: Any) -> Callable[[], object] | None:
    """The HTTP library sends each file from its beginning."""
    given = files.values() if isinstance(files, Mapping) else [file for _, file in files]
    contents = [file[1] if isinstance(file, tuple) else file for file in given]
    whole = all(isinstance(content, str | bytes) or _is_seekable(content) for content in contents)
    return _nothing if whole else None


def _is_seekable(content: Any) -> bool:
    seekable = getattr(content, "seekable", None)
    return callable(seekable) and bool(seekable())


def _nothing() -> None:
    pass
