"""The inbox: what is delivered is kept first, acknowledged then, and handled afterwards."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from ..config import Config
from ..crypto import KeyedHash
from ..errors import ServiceUnavailable
from ..logs import get_logger
from ..stores.arrivals import BeingHandled
from ..stores.delivery_record import UNHANDLED, DeliveryRecord, DeliveryState
from ..stores.inbox import BATCH, InboxStore
from ..stores.transactions import Conflict
from ..sweeper import Sweeper
from .delivery import Delivery
from .doorbells import Doorbell
from .failure import storable
from .handlers import Handlers
from .headers import kept_headers, trace_id
from .worker import MARGIN, Worker

logger = get_logger(__name__)

#: How often each process looks for what is old, and for what others have left behind, in seconds.
REGULARLY = 60.0
#: Batches of one sweep at most: then it is somebody else's turn.
_BATCHES = 20


@dataclass(frozen=True, kw_only=True)
class Sent:
    """The request of a delivery, whose token has been verified.

    :param path: of its route, as that is registered.
    :param target: the path that was asked for.
    """

    path: str
    target: str
    body: bytes = field(repr=False)
    token: str = field(repr=False)
    headers: Iterable[tuple[str, str]] = field(repr=False)


class Inbox:
    """:param digest: names a delivery for the search of duplicates.
    :param celery_app: behind the doorbell, where there is one.
    """

    def __init__(
        self,
        *,
        config: Config,
        store: InboxStore,
        handlers: Handlers,
        worker: Worker,
        doorbell: Doorbell,
        digest: KeyedHash,
        clock: Callable[[], float],
        celery_app: Any = None,
    ) -> None:
        self.celery_app = celery_app
        self.store = store
        self.handlers = handlers
        self.worker = worker
        self.doorbell = doorbell
        self.sweeper = Sweeper(self.sweep, clock, enabled=config.sweeper)
        self._config = config
        self._digest = digest
        self._clock = clock
        self._retained_at = 0.0
        self._turned_away = False
        self._is_used = False

    def receive(self, delivery: Delivery, sent: Sent) -> DeliveryRecord:
        """Keep a verified delivery, and have somebody handle it. It is committed when this returns.

        :raises ServiceUnavailable: the database does not take it.
        """
        event = delivery.event or self.handlers.event_at(sent.path)
        room = self.doorbell.room > 0
        record = self._record(delivery, sent, event)
        if not self.handlers.could_be_for(sent.path, event, delivery.payload):
            record |= {"state": DeliveryState.DONE, "last_error": UNHANDLED}
        else:
            # One that nobody is told of is due at once: the sweep finds it when there is room.
            record["next_attempt_at"] = record["received_at"] + (self._config.worker_patience if room else 0)
        kept = self._keep(DeliveryRecord(**record))
        if kept.state is DeliveryState.RECEIVED:
            self._call(kept.id, room)
        return kept

    def begin(self, delivery: Delivery, sent: Sent) -> tuple[DeliveryRecord, str]:
        """Keep a delivery that a view is about to handle itself.

        :returns: it and its lease. It is a duplicate where an equal one was handled before.
        :raises ServiceUnavailable: an equal one is being handled, or the database does not take it.
        """
        lease = secrets.token_hex(16)
        record = self._record(delivery, sent, delivery.event)
        new = DeliveryRecord(**record, state=DeliveryState.PROCESSING, attempts=1)
        lost_before = new.received_at - self._config.handler_time_limit - MARGIN
        self._is_used = True
        self.start_once()
        try:
            return self._keep(new, lease=lease, lost_before=lost_before), lease
        except BeingHandled:
            raise ServiceUnavailable(
                "An equal delivery is being handled now; send it again.",
                reason="delivery_under_way",
                retry_after=2,
            ) from None

    def finish(self, record: DeliveryRecord, lease: str, *, error: str | None) -> None:
        """Write what came of a delivery that a view has handled; where it failed, it may come again."""
        values: dict[str, Any] = {"lease": None, "duration": self._clock() - record.received_at}
        if error is None:
            values["state"] = DeliveryState.DONE
        else:
            values |= {"state": DeliveryState.FAILED, "last_error": storable(error), "unique_digest": None}
        self.store.settle(record.id, lease, values)

    def sweep(self, doorbell: Doorbell | None = None) -> float | None:
        """Have somebody handle everything that is due, and drop what is old.

        :param doorbell: whom to tell; by default the app's own.
        :returns: when to look again, or ``None`` where nothing is ever kept here.
        """
        if not self._keeps:
            return None
        bell, now = doorbell or self.doorbell, self._clock()
        self._turned_away = False
        for _ in range(_BATCHES):
            room = min(bell.room_for_sweep, BATCH)
            until = now + self._config.worker_patience
            called = self.store.call_due(now, until=until, limit=room) if room > 0 else []
            for delivery_id in called:
                bell.ring(delivery_id)
            if not called:
                break
        self._retain(now)
        latest = now + min(REGULARLY, self._config.worker_patience)
        if room <= 0:
            self._turned_away = True  # whoever is, need not have it looked for room any sooner
            return now + 1 if bell.has_workers else latest
        due = self.store.next_due()
        return latest if due is None else min(max(due, now), latest)

    def retain(self) -> None:
        """Drop what is old."""
        self._retain(self._clock())

    def start_once(self) -> None:
        """Look for what an earlier process left behind, and from then on regularly."""
        if self._keeps:
            self.sweeper.start_once()

    def close(self) -> None:
        """Finish what is under way, and stop."""
        self.sweeper.stop()
        self.doorbell.close(self._config.worker_drain)
        self.worker.limiter.close()

    @property
    def _keeps(self) -> bool:
        return self._is_used or bool(self.handlers)

    def _call(self, delivery_id: int, room: bool) -> None:
        if room:
            self.doorbell.ring(delivery_id)
        elif self.doorbell.has_workers and not self._turned_away:
            self._turned_away = True
            self.sweeper.wake()

    def _record(self, delivery: Delivery, sent: Sent, event: str | None) -> dict[str, Any]:
        headers = list(sent.headers)
        named = {name.lower(): value for name, value in headers}
        body_digest = hashlib.sha256(sent.body).hexdigest()
        return {
            "organization_id": delivery.organization_id,
            "user_id": delivery.user_id,
            "event": event,
            "path": sent.path,
            "payload": sent.body,
            "headers": kept_headers(headers),
            "trace_id": trace_id(named.get("traceparent"), named.get("x-request-id")),
            "digest": self._digest(delivery.organization_id, sent.target, body_digest, sent.token),
            "received_at": self._clock(),
        }

    def _keep(self, new: DeliveryRecord, **view: Any) -> DeliveryRecord:
        try:
            return self.store.receive(new, window=self._config.webhook_duplicate_window, **view)
        except (Conflict, SQLAlchemyError) as error:
            # The first line: the next one may show what is in the row.
            fault = str(error.__cause__ or error).partition("\n")[0]
            logger.error("A delivery could not be kept: %s", fault)
            raise ServiceUnavailable(
                "The delivery cannot be kept now; send it again.", reason="inbox_unavailable", retry_after=5
            ) from error

    def _retain(self, now: float) -> None:
        if now < self._retained_at + REGULARLY:
            return
        self._retained_at = now
        for _ in range(_BATCHES):
            after, most = now - self._config.inbox_max_age, self._config.inbox_max_rows
            if not self.store.retain(received_after=after, most=most):
                return
