"""Senders as the platform may be one: each delivery again and again until it is answered 2xx."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable

from ..servers.inbox import EVENT, PATH

#: How long a sender waits after an answer that is none, in seconds.
PAUSE = 0.1


class Senders:
    """Threads that send numbered deliveries on kept connections.

    :param token: gives a webhook token.
    """

    def __init__(self, port: int, token: Callable[[], str], *, count: int) -> None:
        self._port, self._token, self._count = port, token, count
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        #: When each delivery was answered 2xx, by number; and the seconds that each answer took.
        self.accepted: dict[int, float] = {}
        self.times: list[tuple[float, float]] = []
        self.broken = 0

    def start(self, most: int | None = None, every: float = 0.0) -> None:
        """:param most: deliveries to send; by default until :meth:`stop`.
        :param every: seconds between two deliveries of one sender.
        """
        self._threads = [
            threading.Thread(target=self._send_all, args=(most, every), daemon=True)
            for _ in range(self._count)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        self.join()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    @property
    def are_sending(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def quantile(self, share: float, since: float = 0, until: float = float("inf")) -> float:
        """Seconds until an answer, of those that began in that time."""
        found = sorted(seconds for began, seconds in self.times if since <= began < until)
        return found[min(int(share * len(found)), len(found) - 1)] if found else 0.0

    def _send_all(self, most: int | None, every: float) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        headers = {"Authorization": f"Bearer {self._token()}", "Content-Type": "application/json"}
        while not self._stop.is_set():
            with self._lock:
                number = next(self._numbers)
            if most is not None and number >= most:
                break
            body = json.dumps(
                {"event_name": EVENT, "number": number, "data": {"profile_id": "x", "battery": 0.87}}
            )
            # Once begun, a delivery is sent until it is taken: else nobody knows whether it was.
            while not self._send(connection, number, body, headers):
                connection.close()
                time.sleep(PAUSE)
            time.sleep(every)
        connection.close()

    def _send(
        self, connection: http.client.HTTPConnection, number: int, body: str, headers: dict[str, str]
    ) -> bool:
        began = time.monotonic()
        try:
            connection.request("POST", PATH, body, headers)
            answer = connection.getresponse()
            answer.read()
            taken = 200 <= answer.status < 300
        except (OSError, http.client.HTTPException):
            taken = False
        now = time.monotonic()
        with self._lock:
            if taken:
                self.accepted[number] = now
                self.times.append((began, now - began))
            else:
                self.broken += 1
        return taken
