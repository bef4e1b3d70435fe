"""Organizations that were read a moment ago: what every request needs, without a statement for each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from cachetools import TTLCache

from ..errors import ServiceUnavailable
from ..http.forks import anew_after_fork
from ..installation import Organization, State
from .organizations import OrganizationStore

#: Organizations kept; beyond that the least recently used goes.
ENTRIES = 10_000
_Find = Callable[[str], Organization | None]


class OrganizationCache:
    """Reads through to the store and keeps what it finds, never that it found nothing.

    A change in this process is seen at once, one in another process after ``ttl`` seconds at most. Secrets
    are kept decrypted, so what has expired is let go though nobody asks: after twice that at most.

    :param ttl: seconds; 0 keeps nothing.
    :param timer: a clock in seconds that never steps back.
    :param clock: seconds since the epoch.
    """

    def __init__(
        self,
        store: OrganizationStore,
        *,
        ttl: float,
        timer: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._ttl = ttl
        self._timer = timer
        self._clock = clock
        anew_after_fork(self)
        store.on_change(self._clear)

    def start_anew(self) -> None:
        """Forget what was found, and who was to let it go: a forked child does not have that thread."""
        self._lock = threading.Lock()
        self._generation = 0
        self._letting_go: threading.Timer | None = None
        self._found: TTLCache[tuple[str, str], Organization] = TTLCache(ENTRIES, self._ttl, self._timer)

    def get(self, organization_id: str) -> Organization | None:
        """As :meth:`OrganizationStore.get`.

        :raises ServiceUnavailable: where its secret cannot be read.
        """
        return self._through(("id", organization_id), self._store.get)

    def bound_to(self, subdomain: str) -> Organization | None:
        """As :meth:`OrganizationStore.bound_to`.

        :raises ServiceUnavailable: where its secret cannot be read.
        """
        found = self._through(("subdomain", subdomain), self._store.holder_of)
        return found if found is not None and found.is_active else None

    def of_user(self, user_id: str) -> Organization | None:
        """As :meth:`OrganizationStore.of_user`.

        :raises ServiceUnavailable: where its secret cannot be read.
        """
        return self._through(("user", user_id), self._store.of_user)

    def known(self, organization_id: str) -> Organization | None:
        """The organization, or ``None`` where it would have to be read; the same object until it is."""
        with self._lock:
            return self._found.get(("id", organization_id))

    def forget(self, organization_id: str) -> None:
        """Have it read anew when it is next asked for."""
        with self._lock:
            self._generation += 1
            self._found.pop(("id", organization_id), None)

    def close(self) -> None:
        """Let everything go now."""
        with self._lock:
            self._generation += 1
            self._found.clear()
            if self._letting_go is not None:
                self._letting_go.cancel()
                self._letting_go = None

    def _through(self, key: tuple[str, str], find: _Find) -> Organization | None:
        with self._lock:
            organization = self._found.get(key)
            generation = self._generation
        if organization is None:
            organization = find(key[1])
            if organization is None:
                return None
            organization = self._without_what_ends(organization)
            with self._lock:
                # What was read before a change must not outlive it.
                if generation == self._generation:
                    self._found[key] = organization
                    self._see_it_go()
        if organization.state is State.ACTIVE and organization.shared_secret is None:
            raise ServiceUnavailable(
                "The secret of this organization cannot be read here.",
                reason="secret_unreadable",
                retry_after=60,
            )
        return organization

    def _without_what_ends(self, organization: Organization) -> Organization:
        """A previous secret whose window ends before it would be let go: it is read where it is needed."""
        if organization.previous_secret is None:
            return organization
        if organization.previous_secret_until > self._clock() + 2 * self._ttl:
            return organization
        return replace(organization, previous_secret=None)

    def _see_it_go(self) -> None:
        if self._letting_go is None and self._found:
            timer = threading.Timer(self._ttl, self._let_go)
            timer.name, timer.daemon = "orbro-organizations", True
            with suppress(RuntimeError):  # none can be started any more: the process ends
                timer.start()
                self._letting_go = timer

    def _let_go(self) -> None:
        with self._lock:
            self._found.expire()
            self._letting_go = None
            self._see_it_go()

    def _clear(self) -> None:
        with self._lock:
            self._generation += 1
            self._found.clear()
