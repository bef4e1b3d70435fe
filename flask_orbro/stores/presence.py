"""When an organization was last heard of: written now and then, never for each request."""

from __future__ import annotations

import time
from collections.abc import Callable

from cachetools import TTLCache
from sqlalchemy.exc import SQLAlchemyError

from ..errors import ServiceUnavailable
from ..http.forks import ProcessLock
from ..logs import get_logger
from .organizations import OrganizationStore

logger = get_logger(__name__)

#: How often it is written for one organization by one process, at most (seconds).
SEEN_EVERY = 300
#: Organizations that are remembered as written; beyond that the least recently noted goes.
ENTRIES = 50_000


class Presence:
    """:param clock: seconds since the epoch."""

    def __init__(
        self,
        store: OrganizationStore,
        clock: Callable[[], float],
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._clock = clock
        self._lock = ProcessLock()
        self._written: TTLCache[str, bool] = TTLCache(ENTRIES, SEEN_EVERY, timer)

    def note(self, organization_id: str) -> None:
        """A caller or a delivery of an organization was let in. It never fails for that."""
        with self._lock:
            if organization_id in self._written:
                return
            self._written[organization_id] = True
        try:
            self._store.saw(organization_id, self._clock())
        except (SQLAlchemyError, ServiceUnavailable):
            logger.warning("That %s was seen could not be written.", organization_id, exc_info=True)
