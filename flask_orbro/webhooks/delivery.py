"""One delivery of the platform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Delivery:
    """A verified webhook.

    What follows ``event`` is known to handlers alone; a view has its request, and with ``deduplicate=True``
    the ``id``.

    :param user_id: of a token of the older form ``uuid:{user}``; else the installing user, if known.
    :param payload: the JSON body, as it came.
    :param event: as the payload names it (``ORBRO_WEBHOOK_EVENT_KEY``), else as its path is registered.
    :param id: of its row in the inbox.
    :param path: where it was delivered to.
    :param received_at: seconds since the epoch.
    :param attempt: 1 the first time.
    :param headers: of the request, without credentials.
    :param trace_id: of the sender's trace context or request id, else our own.
    """

    organization_id: str
    user_id: str | None
    payload: Any = field(repr=False)
    event: str | None = None
    id: int | None = None
    path: str | None = None
    received_at: float | None = None
    attempt: int = 1
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    trace_id: str | None = None
    _session: Session | None = field(default=None, repr=False, compare=False)

    @property
    def session(self) -> Session:
        """A session on the app's database whose changes commit together with the delivery, or not at all.

        With Flask-SQLAlchemy it is ``db.session``. Leave the commit to the worker: what a handler commits
        itself is done again where the worker is lost before it has noted the delivery as done.

        :raises RuntimeError: outside of a handler.
        """
        if self._session is None:
            raise RuntimeError("Only a delivery that a handler was given has a session.")
        return self._session
