"""``python -m benchmarks peer``: side by side with the platform's own SDK, in one run, over TLS."""

from __future__ import annotations

import json
import secrets
import ssl
import time
from contextlib import ExitStack
from http.client import HTTPSConnection
from pathlib import Path
from tempfile import TemporaryDirectory

import jwt

from .comparison_report import report
from .load import Load
from .options import Options
from .peer_environment import Certificates, make_certificates, make_environment, name_wrapper
from .processes import Children, Cores, free_port, gunicorn
from .runner import Server, heading, progress, run_rounds
from .scenarios import (
    BASE_NAME,
    CLIENT_ID,
    HANDWRITTEN,
    ORGANIZATION_ID,
    OURS,
    PEER,
    PEER_ONE,
    SUBDOMAIN,
    TOKEN_LIFE,
    Requests,
)

DESCRIPTOR = {
    "id": "com.example.benchmark",
    "name": "Benchmark",
    "baseUrl": "http://127.0.0.1",
    "lifecycle": {name: f"/{name}" for name in ("installed", "uninstalled", "enabled", "disabled")},
}


def run(options: Options) -> str:
    """Measure, and end all that was started.

    :returns: the report.
    :raises BenchmarkError: it cannot be measured.
    """
    cores = Cores()
    load = Load(connections=options.connections, cores=cores.load, tool=options.driver)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="orbro-benchmark-")))
        peer_python = make_environment((options.venv or folder / "venv").absolute(), progress)
        children = stack.enter_context(Children(folder))
        site = _Site(folder, children, cores, options.threads, peer_python)
        stack.callback(site.platform.close)
        ours, handwritten = site.start_ours(), site.start_handwritten()
        peers, skipped = site.start_peers()
        runs = [run for run in site.requests.runs(ours, handwritten, peers) if options.only in run.scenario]
        book = run_rounds(options.plan, runs, load=load, children=children, platform=site.platform)
        title = (
            "Flask-Orbro beside orbro-python-sdk 0.23 (FastAPI), flask-jwt-extended and a hand-written view"
        )
        head = heading(title, options.plan, load, cores, options.connections)
        return f"{head}\n{skipped}\n{report(book)}"


class PlatformControl:
    """The running platform, as the runner sees it."""

    def __init__(self, port: int, authority: Path) -> None:
        context = ssl.create_default_context(cafile=str(authority))
        self._connection = HTTPSConnection("127.0.0.1", port, context=context, timeout=10)

    def set_latency(self, seconds: float) -> None:
        self._ask(f"latency/{seconds * 1000:g}")

    def counted(self) -> tuple[int, int]:
        said = self._ask("counted")
        return said["requests"], said["connections"]

    def close(self) -> None:
        self._connection.close()

    def _ask(self, what: str) -> dict[str, int]:
        # A connection of each question's own: a kept one would be closed meanwhile.
        self._connection.request("GET", f"/benchmark/{what}", headers={"Connection": "close"})
        answer: dict[str, int] = json.load(self._connection.getresponse())
        self._connection.close()
        return answer


class _Site:
    """The platform, and what starts the servers around it."""

    def __init__(
        self, folder: Path, children: Children, cores: Cores, threads: int, peer_python: Path
    ) -> None:
        self._client_secret = secrets.token_urlsafe(32)
        self._folder = folder
        self._children = children
        self._cores = cores
        self._threads = threads
        self._peer_python = peer_python
        self._port = free_port()
        self.requests = Requests(f"{BASE_NAME}:{self._port}", secrets.token_urlsafe(32))
        self._certificates: Certificates = make_certificates(folder, BASE_NAME, peer_python)
        self._start_platform()
        self.platform = PlatformControl(self._port, self._certificates.single)

    def _start_platform(self) -> None:
        certificates = (
            "--ssl-keyfile",
            str(self._certificates.key),
            "--ssl-certfile",
            str(self._certificates.chain),
        )
        argv = [
            *_uvicorn(self._peer_python, "benchmarks.servers.platform:app", self._port),
            *("--http", "httptools", "--timeout-keep-alive", "60", *certificates),
        ]
        progress("starting the platform")
        environment = {"BENCHMARK_ORGANIZATION": ORGANIZATION_ID}
        self._children.start("platform", argv, environment=environment, cores=self._cores.load)
        self._children.wait_for_port(self._port)

    def start_ours(self) -> Server:
        environment = {
            "BENCHMARK_ORGANIZATION": ORGANIZATION_ID,
            "FLASK_ORBRO_CLIENT_ID": CLIENT_ID,
            "FLASK_ORBRO_CLIENT_SECRET": self._client_secret,
            "FLASK_ORBRO_PLATFORM_HOST": self.requests.host,
        }
        server = self._start(OURS, "benchmarks.servers.ours:create_app()", environment)
        self._install(server)
        return server

    def start_handwritten(self) -> Server:
        claims = {
            "iss": CLIENT_ID,
            "exp": int(time.time()) + TOKEN_LIFE,
            "issued_by": "meta-platform-connect",
        }
        environment = {
            "BENCHMARK_JWT_SECRET": self.requests.shared_secret,
            "BENCHMARK_PLATFORM_PORT": str(self._port),
            "BENCHMARK_APP_TOKEN": jwt.encode(claims, self.requests.shared_secret, algorithm="HS256"),
        }
        return self._start(HANDWRITTEN, "benchmarks.servers.handwritten:create_app()", environment)

    def start_peers(self) -> tuple[list[Server], str]:
        """The peer with both certificate stores, or the reason why it is left out."""
        names = name_wrapper(self._folder, (BASE_NAME, f"{SUBDOMAIN}.{BASE_NAME}"))
        if names is None:
            reason = "libnss-wrapper is not installed (Debian: the package 'libnss-wrapper')"
            progress(f"the peer is left out: {reason}")
            return [], f"The peer is left out: {reason}.\n"
        stores = ((PEER, self._certificates.store), (PEER_ONE, self._certificates.single))
        return [self._start_peer(name, store, names) for name, store in stores], ""

    def _start_peer(self, name: str, store: Path, names: dict[str, str]) -> Server:
        folder, port = self._app_folder(name), free_port()
        environment = names | {
            "SSL_CERT_FILE": str(store),
            "BENCHMARK_FOLDER": str(folder),
            "BENCHMARK_PLATFORM_HOST": self.requests.host,
            "BENCHMARK_CLIENT_ID": CLIENT_ID,
            "BENCHMARK_CLIENT_SECRET": self._client_secret,
        }
        argv = _uvicorn(self._peer_python, "benchmarks.servers.peer:app", port)
        progress(f"starting {name}")
        pid = self._children.start(folder.name, argv, environment=environment, cores=self._cores.server)
        server = Server(name, pid, port)
        self._children.wait_for(f"http://127.0.0.1:{port}/bare")
        self._install(server)
        return server

    def _start(self, name: str, factory: str, environment: dict[str, str]) -> Server:
        folder, port = self._app_folder(name), free_port()
        progress(f"starting {name}")
        environment |= {"SSL_CERT_FILE": str(self._certificates.store), "BENCHMARK_FOLDER": str(folder)}
        argv = gunicorn(factory, port, threads=self._threads)
        pid = self._children.start(folder.name, argv, environment=environment, cores=self._cores.server)
        self._children.wait_for(f"http://127.0.0.1:{port}/bare")
        return Server(name, pid, port)

    def _app_folder(self, name: str) -> Path:
        folder = self._folder / "".join(c if c.isalnum() else "-" for c in name)
        folder.mkdir()
        (folder / "connect.json").write_text(json.dumps(DESCRIPTOR))
        return folder

    def _install(self, server: Server) -> None:
        Load(connections=1, cores=None).once(server.port, self.requests.install())


def _uvicorn(python: Path, app: str, port: int) -> list[str]:
    return [
        *(str(python), "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(port)),
        *("--loop", "uvloop", "--no-access-log", "--log-level", "warning"),
    ]
