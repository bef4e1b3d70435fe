"""A load generator of our own: raw sockets, kept connections, no pipelining; one order on standard input.

Each connection sends a request, waits for the whole answer and sends the next. Latency is from the
first byte sent to the last byte received.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import selectors
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

#: Broken connections after which a run is given up.
MAX_BROKEN = 200
TIMEOUT = 20.0

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)
_COUNTER = b"{counter:043d}"


class Connection:
    """One caller.

    :param make: the next request, as bytes.
    """

    def __init__(self, port: int, make: Callable[[], bytes]) -> None:
        self._port = port
        self._make = make
        self._buffer = b""
        self._needed = 0
        self._closes = False
        self._sent_at = 0.0
        self.status = 0
        self.socket = self._connect()

    def _connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self._port), timeout=TIMEOUT)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def send(self) -> None:
        self._buffer, self._needed, self._closes = b"", 0, False
        request = self._make()
        self._sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> float | None:
        """Read what is there.

        :returns: the latency in seconds, once the answer is whole.
        :raises OSError: the connection broke.
        """
        data = self.socket.recv(262_144)
        if not data:
            raise ConnectionError("closed before the answer was whole")
        self._buffer += data
        if not self._needed:
            self._read_head()
        if not self._needed:
            return None
        chunked = self._needed < 0
        whole = self._buffer.endswith(b"0\r\n\r\n") if chunked else len(self._buffer) >= self._needed
        return time.perf_counter() - self._sent_at if whole else None

    def _read_head(self) -> None:
        """Find where the answer ends: ``_needed`` bytes, or -1 for a chunked one."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end]
        self.status = int(head[9:12])
        self._closes = _CLOSE.search(head) is not None
        length = _LENGTH.search(head)
        if length is None and not _CHUNKED.search(head):
            raise ConnectionError("an answer without a length")
        self._needed = -1 if length is None else end + 4 + int(length.group(1))

    @property
    def closes(self) -> bool:
        """Whether the server ends the connection with this answer."""
        return self._closes

    def renew(self) -> None:
        """Connect again."""
        self.socket.close()
        self.socket = self._connect()


def work(order: dict[str, Any], connections: int, counter: int) -> tuple[list[float], int, float]:
    """Run the callers of one process.

    :returns: latencies of the 2xx answers in seconds, how many requests failed, and how long it took.
    """
    template: bytes = order["request"].encode()
    before, _, after = template.partition(_COUNTER)
    number = counter

    def make() -> bytes:
        nonlocal number
        if not order["cold"]:
            return template
        number += 1
        return b"%b%043d%b" % (before, number, after)

    latencies: list[float] = []
    failed = broken = 0
    selector = selectors.DefaultSelector()
    began = time.perf_counter()
    end = began + order["seconds"]
    callers = [Connection(order["port"], make) for _ in range(connections)]
    for caller in callers:
        selector.register(caller.socket, selectors.EVENT_READ, caller)
        caller.send()
    # What is under way at the end is waited for: of a slow server it would be a good part of all.
    under_way = connections
    while under_way and (left := end + TIMEOUT - time.perf_counter()) > 0:
        for key, _ in selector.select(left):
            caller = key.data
            try:
                latency = caller.receive()
                if latency is None:
                    continue
                lost = False
            except OSError:
                lost, latency = True, 0.0
                broken += 1
                if broken > MAX_BROKEN:
                    raise
            if not lost and 200 <= caller.status < 300:
                latencies.append(latency)
            else:
                failed += 1
            ends = time.perf_counter() >= end
            if ends or lost or caller.closes:
                selector.unregister(caller.socket)
            if ends:
                under_way -= 1
                continue
            if lost or caller.closes:
                caller.renew()
                selector.register(caller.socket, selectors.EVENT_READ, caller)
            caller.send()
    elapsed = time.perf_counter() - began
    for caller in callers:
        caller.socket.close()
    selector.close()
    return latencies, failed + under_way, elapsed


def main() -> None:
    """Run the order on standard input and print what came of it as JSON."""
    order = json.load(sys.stdin)
    jobs = [
        (order, share, order["counter"] + place * 10_000_000) for place, share in enumerate(order["shares"])
    ]
    if len(jobs) == 1:
        results = [work(*jobs[0])]
    else:
        with multiprocessing.Pool(len(jobs)) as pool:
            results = pool.starmap(work, jobs)
    latencies = sorted(latency for found, _, _ in results for latency in found)
    if not latencies:
        sys.exit("there was no 2xx answer at all")
    document = {
        "answered": len(latencies),
        "failed": sum(failed for _, failed, _ in results),
        "seconds": max(elapsed for _, _, elapsed in results),
        "p50": latencies[len(latencies) // 2],
        "p99": latencies[min(len(latencies) - 1, int(len(latencies) * 0.99))],
    }
    json.dump(document, sys.stdout)


if __name__ == "__main__":
    main()
