"""A threaded HTTP/1.1 server for the simulator, on loopback only."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, cast

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from .app import MAX_BODY, create_app, runtime
from .errors import SimulatorError
from .hosts import is_loopback
from .platform import Platform

if TYPE_CHECKING:
    from types import TracebackType

    from flask import Flask

logger = logging.getLogger(__name__)

_BODILESS = ("204", "304")


class SimulatorServer:
    """Serves a platform in threads of its own; a context manager.

    .. code-block:: python

        with SimulatorServer() as server:
            server.platform.install("http://127.0.0.1:5000", "acme")

    :param port: TCP port; 0 takes a free one at the first start and keeps it for later ones.
    :param host: loopback address to listen on.
    :param base_name: name of the platform's root.
    :param platform: the state; a new one by default.
    :raises SimulatorError: ``host`` is not a loopback address, or ``base_name`` no DNS name.
    """

    def __init__(
        self,
        port: int = 0,
        host: str = "127.0.0.1",
        base_name: str = "orbro.localhost",
        platform: Platform | None = None,
    ) -> None:
        if not is_loopback(host):
            raise SimulatorError(
                f"The simulator listens on loopback addresses only, not on {host!r}: "
                "anyone who reaches it can make tokens."
            )
        self.host = "127.0.0.1" if host == "localhost" else host
        self.port = port
        self.base_name = base_name.lower()
        self.platform = platform or Platform()
        self.app: Flask = create_app(self.platform, base_name)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where the control API is, such as ``http://127.0.0.1:8001``."""
        shown = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{shown}:{self.port}"

    @property
    def platform_host(self) -> str:
        """Name and port of the platform's root: what the app takes for the platform's host."""
        return f"{self.base_name}:{self.port}"

    def start(self) -> SimulatorServer:
        """Listen and serve; returns at once.

        :returns: itself.
        :raises SimulatorError: the port is taken, or the server runs already.
        """
        if self._server is not None:
            raise SimulatorError(f"The simulator runs already on port {self.port}.")
        with _listen(self.host, self.port) as listener:
            self._server = _Server(self.host, self.app, listener)
        self.port = self._server.port
        runtime(self.app).stopping.clear()
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.02},
            name=f"orbro-simulator-{self.port}",
            daemon=True,
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop serving, end the connections and release the port. Harmless when stopped."""
        server, thread = self._server, self._thread
        if server is None or thread is None:
            return
        self._server = self._thread = None
        runtime(self.app).stopping.set()
        server.shutdown()
        thread.join()
        server.end_connections()

    def __enter__(self) -> SimulatorServer:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise SimulatorError(f"The simulator cannot listen on port {port} of {host}: {reason}.") from error
    return listener


class _Server(ThreadedWSGIServer):
    """Werkzeug's server, which here also knows its connections, so that stopping ends them."""

    daemon_threads = True

    def __init__(self, host: str, app: Flask, listener: socket.socket) -> None:
        # A socket that is bound already: with a taken port, Werkzeug would end the process.
        #: What ``Date`` tells: the platform's time.
        self.now = runtime(app).platform.clock
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._guard = threading.Lock()
        super().__init__(host, 0, app, _Handler, fd=listener.fileno())

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            name=f"orbro-simulator-{self.port}-connection",
            daemon=True,
        )
        with self._guard:
            self._connections[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        with self._guard:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        with self._guard:
            connections = dict(self._connections)
        # No more requests, but answers under way may still be sent; then the hard way.
        for how, patience in ((socket.SHUT_RD, 2.0), (socket.SHUT_RDWR, 5.0)):
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(how)
            deadline = time.monotonic() + patience
            for thread in connections.values():
                thread.join(max(0.0, deadline - time.monotonic()))

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.exception("A connection to the simulator failed")


class _Handler(WSGIRequestHandler):
    """Serves one connection, with keep-alive.

    Werkzeug's own handler closes the connection after every answer, as it does not know where the
    body of the request ends. Here the body is read before the app is called, and each answer is
    sent in one piece.
    """

    protocol_version = "HTTP/1.1"
    # Small writes on a kept connection would wait for the peer's delayed acknowledgement, 40 ms.
    disable_nagle_algorithm = True
    error_message_format = '{"error_code": "BAD_REQUEST", "message": "HTTP error %(code)d"}'
    error_content_type = "application/json"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Nothing: the platform keeps a log of its own, without query strings."""

    def run_wsgi(self) -> None:
        try:
            environ = self.make_environ()
            body = _body(environ)
        except (ValueError, OSError):
            self.close_connection = True
            return self.send_error(400)
        if body is None:
            self.close_connection = True
            return self.send_error(413)
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        started: list[Any] = []

        def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
            started[:] = [status, headers]
            return started.append

        chunks = self.server.app(environ, start_response)
        try:
            content = b"".join(chunks)
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        try:
            self.connection.sendall(self._answer(started[0], started[1], content))
        except OSError:
            self.close_connection = True
        return None

    def _answer(self, status: str, headers: list[tuple[str, str]], content: bytes) -> bytes:
        now = cast(_Server, self.server).now
        lines = [f"HTTP/1.1 {status}", f"Date: {self.date_time_string(now())}"]
        lines += [f"{name}: {value}" for name, value in headers]
        bodiless = status[:3] in _BODILESS
        if not bodiless and not any(name.lower() == "content-length" for name, _ in headers):
            lines.append(f"Content-Length: {len(content)}")
        lines.append(f"Connection: {'close' if self.close_connection else 'keep-alive'}")
        if bodiless or self.command == "HEAD":
            content = b""
        return "\r\n".join((*lines, "", "")).encode("latin-1") + content


def _body(environ: dict[str, Any]) -> bytes | None:
    """:returns: the body of the request, or ``None`` where it is too large."""
    stream = environ["wsgi.input"]
    if environ.pop("wsgi.input_terminated", False):
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        body: bytes = io.BufferedReader(stream).read(MAX_BODY + 1)
        return body if len(body) <= MAX_BODY else None
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length < 0:
        raise ValueError("negative Content-Length")
    if length > MAX_BODY:
        return None
    body = stream.read(length) if length else b""
    if len(body) < length:
        raise ConnectionError("the body ended early")
    return body
