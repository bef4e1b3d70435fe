"""Handling one delivery: lease it, run its handlers, write what they came to."""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from ..config import Config
from ..logs import get_logger
from ..stores.arrivals import LOST
from ..stores.delivery_record import (
    HANDLER_DEAD,
    HANDLER_DONE,
    DeliveryRecord,
    DeliveryState,
    attempt_of,
    since,
)
from ..stores.inbox import InboxStore
from .delivery import Delivery
from .failure import storable, text_of, wait_wanted
from .handlers import Handler, Handlers
from .time_limit import TimeLimiter, TimeLimitExceeded

logger = get_logger(__name__)

#: What a lease lasts longer than the handlers may take, in seconds.
MARGIN = 5.0

#: Writes a delivery's new state into the handler's own transaction; ``False``: the lease was lost.
Settle = Callable[[Session], bool]
#: Runs a handler in its app, and commits what it did together with :data:`Settle`.
Perform = Callable[[Handler, Delivery, Settle], None]


class LeaseLost(Exception):
    """Another worker has the delivery now; what this one did is not committed."""


class NotCommitted(Exception):
    """The handler is through, and the database would not take what it did."""


class Worker:
    """:param perform: runs a handler.
    :param dead: told of every delivery that is given up, and of its last error.
    :param retry: told that one is to be tried again.
    """

    def __init__(
        self,
        *,
        config: Config,
        store: InboxStore,
        handlers: Handlers,
        perform: Perform,
        clock: Callable[[], float],
        dead: Callable[[Delivery, str], object],
        retry: Callable[[], None],
    ) -> None:
        self.store = store
        self.handlers = handlers
        self.perform = perform
        self.clock = clock
        self.dead = dead
        self.retry = retry
        self.limiter = TimeLimiter()
        self._first_wait = config.handler_backoff
        self._longest_wait = config.handler_backoff_max

    def handle(self, delivery_id: int) -> DeliveryState | None:
        """Handle a delivery, unless it does not wait, or no longer.

        :returns: what became of it; ``None`` where it is somebody else's.
        :raises sqlalchemy.exc.DBAPIError: the database is out of reach.
        :raises TooManyHang: it is left to another process, or to later.
        """
        self.limiter.check_room()
        lease = secrets.token_hex(16)
        until = self.clock() + self.handlers.longest + MARGIN
        record = self.store.claim(delivery_id, lease=lease, until=until)
        return None if record is None else _Attempt(self, record, lease).run()

    def wait_after(self, error: Exception, attempts: int) -> float:
        """Seconds until the next attempt; an error may want more, within the configured bound."""
        return max(min(wait_wanted(error, self.clock()), self._longest_wait), self.backoff(attempts))

    def backoff(self, attempts: int) -> float:
        """Seconds until the next attempt: doubled for each, with jitter."""
        longest = min(self._longest_wait, self._first_wait * 2.0 ** min(attempts - 1, 60))
        return longest * random.uniform(0.5, 1)  # noqa: S311


class _Attempt:
    """One attempt at one delivery. Each handler that is not finished is run, one after the other."""

    def __init__(self, worker: Worker, record: DeliveryRecord, lease: str) -> None:
        self._worker = worker
        self._record = record
        self._lease = lease
        self._began = time.monotonic()
        self._progress: Mapping[str, str] = record.progress
        # Then the first one to be run is the one that all workers before were lost in.
        self._nothing_noted = not any(map(attempt_of, record.progress.values()))
        self._errors: list[str] = []
        self._wait: float | None = None
        self._has_ended = False

    def run(self) -> DeliveryState | None:
        record, known = self._record, self._worker.handlers
        payload = json.loads(record.payload)
        event = record.event or known.event_at(record.path)
        delivery = Delivery(
            organization_id=record.organization_id,
            user_id=record.user_id,
            payload=payload,
            event=event,
            id=record.id,
            path=record.path,
            received_at=record.received_at,
            headers=record.headers,
            trace_id=record.trace_id,
        )
        handlers = known.of(record.path, event, payload)
        if not handlers:
            self._errors.append(self._nobody(event))
            return self._settle(delivery, DeliveryState.DEAD)
        for handler in handlers:
            others = [other for other in handlers if other is not handler]
            if not self._has_finished(handler) and not self._run(handler, delivery, others):
                return None
        return DeliveryState.DONE if self._has_ended else self._settle(delivery, self._state())

    def _nobody(self, event: str | None) -> str:
        """Why no handler takes a delivery. One did when it was received: it must not be done unseen."""
        path = self._record.path
        if path not in self._worker.handlers:
            return f"No handler is registered at {path}."
        if event is None:
            return (
                "The payload names no event (ORBRO_WEBHOOK_EVENT_KEY), and its path is not registered for "
                "exactly one."
            )
        return f"No handler takes {event} at {path}."

    def _run(self, handler: Handler, delivery: Delivery, others: list[Handler]) -> bool:
        """:returns: ``False`` where the delivery is somebody else's now."""
        if not self._begin(handler):
            return False
        attempt = self._attempt(handler)
        if attempt > handler.attempts:  # its worker was lost in the last one
            self._errors.append(f"{handler.name}: {LOST}")
            self._give_up(handler)
            return True
        given = replace(delivery, attempt=attempt)
        after = {**self._progress, handler.name: HANDLER_DONE}
        ends = all(after.get(other.name) == HANDLER_DONE for other in others)
        lease = self._lease

        def settle(session: Session) -> bool:
            values = self._values(DeliveryState.DONE, after) if ends else {"progress": after}
            return self._worker.store.settle_in(session, self._record.id, lease, values)

        try:
            self._worker.limiter.run(lambda: self._worker.perform(handler, given, settle), handler.time_limit)
        except LeaseLost:
            logger.warning("Delivery %s took too long; another worker has it.", self._record.id)
            return False
        except TimeLimitExceeded as error:
            return self._overtime(handler, error)
        except Exception as error:
            self._failed(handler, error)
        else:
            self._progress, self._has_ended = after, ends
        return True

    def _overtime(self, handler: Handler, error: Exception) -> bool:
        """The handler goes on, and must not commit any more; it may just have."""
        new = secrets.token_hex(16)
        progress = self._worker.store.fence(self._record.id, lease=self._lease, new=new)
        if progress is None:
            return False
        self._lease = new
        self._progress = {**self._progress, **progress}
        if not self._has_finished(handler):
            self._failed(handler, error)
        return True

    def _has_finished(self, handler: Handler) -> bool:
        return self._progress.get(handler.name) in (HANDLER_DONE, HANDLER_DEAD)

    def _begin(self, handler: Handler) -> bool:
        """Note which attempt is a handler's first: attempts are counted for each handler.

        :returns: ``False`` where the delivery is somebody else's now.
        """
        if handler.name in self._progress:
            return True
        first = 1 if self._nothing_noted else self._record.attempts
        self._nothing_noted = False
        self._progress = {**self._progress, handler.name: since(first)}
        if first == 1 and not self._errors:
            return True  # the next worker, should this one be lost, comes to the same
        return self._worker.store.settle(self._record.id, self._lease, {"progress": self._progress})

    def _attempt(self, handler: Handler) -> int:
        """Which attempt of a handler this is; 1 for the first."""
        first = attempt_of(self._progress[handler.name]) or 1
        return self._record.attempts - first + 1

    def _failed(self, handler: Handler, error: Exception) -> None:
        passing = isinstance(error, (*handler.retry_on, TimeLimitExceeded, NotCommitted))
        attempt = self._attempt(handler)
        again = passing and attempt < handler.attempts
        logger.warning(
            "Delivery %s: %s failed, attempt %d of %d, %s.",
            self._record.id,
            handler.name,
            attempt,
            handler.attempts,
            "it is tried again" if again else "it is given up",
            exc_info=error,
        )
        self._errors.append(f"{handler.name}: {text_of(error)}")
        if again:
            wait = self._worker.wait_after(error, attempt)
            self._wait = max(self._wait or 0, wait)
        else:
            self._give_up(handler)

    def _give_up(self, handler: Handler) -> None:
        self._progress = {**self._progress, handler.name: HANDLER_DEAD}

    def _state(self) -> DeliveryState:
        if self._wait is not None:
            return DeliveryState.FAILED
        dead = HANDLER_DEAD in self._progress.values()
        return DeliveryState.DEAD if dead else DeliveryState.DONE

    def _settle(self, delivery: Delivery, state: DeliveryState) -> DeliveryState | None:
        values = self._values(state, self._progress)
        error = storable("\n".join(self._errors))
        if error:
            values["last_error"] = error
        if not self._worker.store.settle(self._record.id, self._lease, values):
            return None
        if state is DeliveryState.DEAD:
            logger.error("Delivery %s is given up: %s", self._record.id, error)
            self._worker.dead(delivery, error)
        if state is DeliveryState.FAILED:
            self._worker.retry()
        return state

    def _values(self, state: DeliveryState, progress: Mapping[str, str]) -> dict[str, Any]:
        return {
            "state": state,
            "next_attempt_at": None if self._wait is None else self._worker.clock() + self._wait,
            "lease": None,
            "progress": progress,
            "duration": time.monotonic() - self._began,
        }
