"""A TCP proxy on loopback that can be cut: what a broker looks like when it is gone, or hangs."""

from __future__ import annotations

import contextlib
import socket
import threading
from types import TracebackType


class TcpProxy:
    """Forwards connections to a port of the loopback address; a context manager.

    :param target: the port that it stands for.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._sockets: set[socket.socket] = set()
        self._silent: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        #: How many there have been.
        self.connections = 0
        self._mode = "forward"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> TcpProxy:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._sockets |= self._silent
        self.cut()
        self._mode = "closed"
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def cut(self) -> None:
        """Break every connection, and each new one at once."""
        self._mode = "cut"
        self._drop()

    def hang(self) -> None:
        """Take connections, old and new, and pass nothing on."""
        self._mode = "hang"

    def silence(self) -> None:
        """As :meth:`hang`, but nobody is ever told that a connection of till then is dead."""
        self._mode = "silence"

    def mend(self) -> None:
        """Forward again; connections that hung are broken, those that were silenced stay silent."""
        if self._mode == "silence":
            self._silent |= self._sockets
            self._sockets = set()
        self._mode = "forward"
        self._drop()

    def _drop(self) -> None:
        for connection in list(self._sockets):
            self._break(connection)

    def _break(self, connection: socket.socket) -> None:
        """Shut down first: a thread that reads from it would keep it open."""
        self._sockets.discard(connection)
        self._silent.discard(connection)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()

    def _accept(self) -> None:
        while self._mode != "closed":
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self._mode == "cut":
                client.close()
                continue
            self._sockets.add(client)
            if self._mode == "forward":
                try:
                    server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
                except OSError:
                    client.close()
                    continue
                server.settimeout(None)
                self._sockets.add(server)
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=(source, sink), daemon=True).start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self._mode == "forward" and source not in self._silent:
                    sink.sendall(data)
        is_silent = self._mode == "silence" or source in self._silent
        for end in (source,) if is_silent else (source, sink):
            self._break(end)
