"""One small port for what may be forgotten: memory by default, Redis where processes share it."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any, Protocol, TypeVar

from cachetools import TLRUCache

from ..crypto import KeyedHash, Sealer, derive_key
from ..http.forks import anew_after_fork

T = TypeVar("T")

#: Entries kept in memory; beyond that the least recently used goes.
MEMORY_ENTRIES = 50_000
#: How often it is looked whether another process has an answer, in seconds.
LOOK = 0.01
#: How much longer than anybody waits a turn is kept for who has it, in seconds: else the last of those
#: who waited would begin anew.
GRACE = 1.0


class OthersTooSlow(Exception):
    """Another process has not found out in time."""


class Cache(Protocol):
    """Bytes by name, for a time."""

    #: Whether other processes see the same.
    shared: bool

    def get_many(self, names: Sequence[str]) -> list[bytes | None]:
        """The values, each ``None`` where there is none or it has expired."""

    def add(self, name: str, value: bytes, ttl: float) -> bool:
        """Keep a value where there is none yet; whether it was kept."""

    def set(self, name: str, value: bytes, ttl: float) -> None:
        """Keep a value for ``ttl`` seconds."""

    def delete(self, name: str) -> None:
        """Forget a value; unknown names are no error."""

    def release(self, name: str, value: bytes) -> None:
        """Forget this value, and none that somebody else has put there since."""


class MemoryCache:
    """Bounded and expiring, for one process.

    :param timer: a clock in seconds that never steps back.
    """

    shared = False

    def __init__(self, entries: int = MEMORY_ENTRIES, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._lock = threading.Lock()
        self._entries: TLRUCache[str, tuple[bytes, float]] = TLRUCache(
            entries, ttu=lambda _name, entry, _now: entry[1], timer=timer
        )
        anew_after_fork(self)

    def start_anew(self) -> None:
        """Drop what a thread of the parent was writing when it forked: it may be half there."""
        if self._lock.locked():
            self._lock = threading.Lock()
            self._entries = TLRUCache(self._entries.maxsize, ttu=self._entries.ttu, timer=self._timer)

    def get_many(self, names: Sequence[str]) -> list[bytes | None]:
        with self._lock:
            found = [self._entries.get(name) for name in names]
        return [entry[0] if entry else None for entry in found]

    def add(self, name: str, value: bytes, ttl: float) -> bool:
        with self._lock:
            if name in self._entries:
                return False
            self._entries[name] = (value, self._timer() + ttl)
            return True

    def set(self, name: str, value: bytes, ttl: float) -> None:
        with self._lock:
            self._entries[name] = (value, self._timer() + ttl)

    def delete(self, name: str) -> None:
        with self._lock:
            self._entries.pop(name, None)

    def release(self, name: str, value: bytes) -> None:
        with self._lock:
            if self._entries.get(name, (b"", 0))[0] == value:
                del self._entries[name]


class SealedCache:
    """JSON documents in a :class:`Cache` whose medium is not trusted.

    Names are keyed hashes, values are sealed to their name, and each carries its own expiry, so that
    someone who can read or write the medium learns nothing, plants nothing and prolongs nothing.

    :param purpose: separates the keys of tokens from those of verdicts.
    :param clock: seconds since the epoch.
    """

    def __init__(self, cache: Cache, client_secret: str, purpose: str, clock: Callable[[], float]) -> None:
        self._cache = cache
        self._purpose = purpose
        self._clock = clock
        self._hash = KeyedHash(derive_key(client_secret, purpose + ":name"))
        self._sealer = Sealer(derive_key(client_secret, purpose + ":value"))

    def name(self, *parts: str) -> str:
        """The name that the parts are kept under."""
        return f"{self._purpose}:{self._hash(*parts)}"

    @property
    def shared(self) -> bool:
        """Whether other processes see the same."""
        return self._cache.shared

    def of_this_process(self) -> SealedCache:
        """One with the same names, in memory."""
        alike = copy(self)
        alike._cache = MemoryCache()
        return alike

    def get(self, name: str) -> dict[str, Any] | None:
        """The value, or ``None`` where there is none that we put there and that is still good."""
        return self.get_many([name])[0]

    def get_many(self, names: Sequence[str]) -> list[dict[str, Any] | None]:
        """As :meth:`get`, in one look-up."""
        found = self._cache.get_many(names)
        return [
            None if sealed is None else self._open(name, sealed)
            for name, sealed in zip(names, found, strict=True)
        ]

    def _open(self, name: str, sealed: bytes) -> dict[str, Any] | None:
        opened = self._sealer.open(sealed, name)
        if opened is None:
            return None
        entry: dict[str, Any] = json.loads(opened)
        return entry["value"] if self._clock() < entry["until"] else None

    def set(self, name: str, value: dict[str, Any], ttl: float) -> None:
        """Keep a value for ``ttl`` seconds; nothing is kept where that is not positive."""
        if ttl <= 0:
            return
        entry = json.dumps({"value": value, "until": self._clock() + ttl})
        self._cache.set(name, self._sealer.seal(entry.encode(), name), ttl)

    def delete(self, name: str) -> None:
        self._cache.delete(name)

    @contextmanager
    def turn(self, name: str, recall: Callable[[], T | None], patience: float) -> Iterator[T | None]:
        """Take turns with the other processes that share the cache.

        :param recall: what another process may have found out meanwhile.
        :param patience: how long a turn takes at most, in seconds.
        :returns: what was found out, or ``None``: it is our turn.
        :raises OthersTooSlow: where others took longer.
        """
        if not self._cache.shared:
            yield None
            return
        lock, owner = name + ":lock", secrets.token_bytes(16)
        deadline = time.monotonic() + patience
        while not self._cache.add(lock, owner, patience + GRACE):
            found = recall()
            if found is not None:
                yield found
                return
            if time.monotonic() > deadline:
                raise OthersTooSlow
            time.sleep(LOOK)
        try:
            yield recall()
        finally:
            # Whoever took longer than that has lost it, perhaps to somebody else.
            self._cache.release(lock, owner)
