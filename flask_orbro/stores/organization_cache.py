"""Organizations that were read a moment ago: what every request needs, without a statement for each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from cachetools import TTLCache

from ..installation import Organization
from .organizations import OrganizationStore

#: Organizations kept; beyond that the least recently used goes.
ENTRIES = 10_000


class OrganizationCache:
    """Reads through to the store and keeps what it finds, never that it found nothing.

    A change in this process is seen at once, one in another process after ``ttl`` seconds at most.

    :param ttl: seconds; 0 keeps nothing.
    :param timer: a clock in seconds that never steps back.
    """

    def __init__(
        self,
        store: OrganizationStore,
        *,
        ttl: float,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._generation = 0
        self._found: TTLCache[tuple[str, str], Organization] = TTLCache(ENTRIES, ttl, timer)
        store.on_change(self._clear)

    def get(self, organization_id: str) -> Organization | None:
        """As :meth:`OrganizationStore.get`."""
        return self._through(("id", organization_id), self._store.get)

    def bound_to(self, subdomain: str) -> Organization | None:
        """As :meth:`OrganizationStore.bound_to`."""
        return self._through(("subdomain", subdomain), self._store.bound_to)

    def _through(
        self, key: tuple[str, str], read: Callable[[str], Organization | None]
    ) -> Organization | None:
        with self._lock:
            found = self._found.get(key)
            generation = self._generation
        if found is not None:
            return found
        found = read(key[1])
        if found is not None:
            with self._lock:
                # What was read before a change must not outlive it.
                if generation == self._generation:
                    self._found[key] = found
        return found

    def _clear(self) -> None:
        with self._lock:
            self._generation += 1
            self._found.clear()
