"""Organizations that were read a moment ago: what every request needs, without a statement for each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from cachetools import TTLCache

from ..errors import ServiceUnavailable
from ..installation import Organization, State
from .organizations import OrganizationStore

#: Organizations kept; beyond that the least recently used goes.
ENTRIES = 10_000


class OrganizationCache:
    """Reads through to the store and keeps what it finds, never that it found nothing.

    What is kept is the row as it is written: a secret is decrypted for each use, and kept nowhere.
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
        self._found: TTLCache[tuple[str, str], Any] = TTLCache(ENTRIES, ttl, timer)
        store.on_change(self._clear)

    def get(self, organization_id: str) -> Organization | None:
        """As :meth:`OrganizationStore.get`.

        :raises ServiceUnavailable: where its secret cannot be read.
        """
        return self._through(("id", organization_id), self._store.row_of)

    def bound_to(self, subdomain: str) -> Organization | None:
        """As :meth:`OrganizationStore.bound_to`.

        :raises ServiceUnavailable: where its secret cannot be read.
        """
        found = self._through(("subdomain", subdomain), self._store.row_bound_to)
        return found if found is not None and found.is_active else None

    def row(self, organization_id: str) -> Any:
        """The organization as it is written, or ``None`` where it would have to be read."""
        with self._lock:
            return self._found.get(("id", organization_id))

    def forget(self, organization_id: str) -> None:
        """Have it read anew when it is next asked for."""
        with self._lock:
            self._generation += 1
            self._found.pop(("id", organization_id), None)

    def _through(self, key: tuple[str, str], find: Callable[[str], Any]) -> Organization | None:
        with self._lock:
            row = self._found.get(key)
            generation = self._generation
        if row is None:
            row = find(key[1])
            if row is None:
                return None
            with self._lock:
                # What was read before a change must not outlive it.
                if generation == self._generation:
                    self._found[key] = row
        organization = self._store.read(row)
        if organization.state is State.ACTIVE and organization.shared_secret is None:
            raise ServiceUnavailable(
                "The secret of this organization cannot be read here.",
                reason="secret_unreadable",
                retry_after=60,
            )
        return organization

    def _clear(self) -> None:
        with self._lock:
            self._generation += 1
            self._found.clear()
