"""``python -m benchmarks tokens``: how many are made where many callers find theirs expired at once."""

from __future__ import annotations

import json
import multiprocessing
import secrets
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flask import Flask

from flask_orbro import OrbroConnect
from flask_orbro.simulator import SimulatorServer
from flask_orbro.simulator.models import Installation
from flask_orbro.state import get_state

from .errors import BenchmarkError
from .figures import table
from .options import Options
from .peer_environment import make_environment
from .processes import ROOT, clean_environment
from .runner import progress

PROCESSES, THREADS = 4, 64
OTHERS_THREADS = 50
ORGANIZATIONS = ("acme", "globex")
REDIS = "redis://127.0.0.1:6379/0"
AUTHLIB = ("Authlib>=1.6,<2", "httpx<1")
PATH = "/api/v1/users"
#: Of Authlib's token endpoint, in seconds. We make our tokens ourselves.
LATENCIES = (0.02, 0.1)
#: Most of a token's life is leeway, so that it is renewed soon; in seconds.
LIFE, LEEWAY = 64.0, 60.0
FRESH = LIFE - LEEWAY
TIMEOUT = 120.0


def run(options: Options) -> str:
    """Measure, and end all that was started.

    :returns: the report.
    :raises BenchmarkError: it cannot be measured.
    """
    with TemporaryDirectory(prefix="orbro-tokens-") as name:
        folder = Path(name)
        python = make_environment(_venv(options, folder), progress, AUTHLIB)
        lines = [_ours(folder, "memory", None), _ours(folder, "Redis", REDIS)]
        lines += [_authlib(python, latency) for latency in LATENCIES]
    head = ("client", "processes x threads", "calls", "failed", "tokens made", "per organization")
    return f"Tokens made where every caller finds the kept one expired at once\n\n{table(head, lines)}\n"


def _venv(options: Options, folder: Path) -> Path:
    """Beside the peer's, which has other requirements."""
    return Path(f"{options.venv.absolute()}-authlib") if options.venv else folder / "authlib"


def _ours(folder: Path, label: str, redis_url: str | None) -> tuple[str, ...]:
    progress(f"flask-orbro with {label}, {PROCESSES} x {THREADS} callers")
    secret = secrets.token_urlsafe(32)
    with SimulatorServer() as simulator:
        config = {
            "ORBRO_CLIENT_ID": "benchmark",
            "ORBRO_CLIENT_SECRET": secrets.token_urlsafe(32),
            "ORBRO_PLATFORM_HOST": simulator.platform_host,
            "ORBRO_PLATFORM_SCHEME": "http",
            "ORBRO_TOKEN_LIFETIME": LIFE,
            "ORBRO_TOKEN_LEEWAY": LEEWAY,
            "ORBRO_CALLS_PER_ORGANIZATION": THREADS,
            "ORBRO_METRICS": True,
            "ORBRO_SWEEPER": False,
            "ORBRO_REDIS_URL": redis_url,
        }
        root = _app_folder(folder / label)
        _install(simulator, root, config, secret)
        context = multiprocessing.get_context("spawn")
        start, results = context.Barrier(PROCESSES), context.Queue()
        arguments = (str(root), config, start, results)
        processes = [context.Process(target=_process, args=arguments) for _ in range(PROCESSES)]
        for process in processes:
            process.start()
        found = [results.get(timeout=TIMEOUT) for _ in processes]
        for process in processes:
            process.join(TIMEOUT)
    calls, failed, made = (sum(column) for column in zip(*found, strict=True))
    share = f"{made / len(ORGANIZATIONS):g}"
    return f"flask-orbro, {label}", f"{PROCESSES} x {THREADS}", str(calls), str(failed), str(made), share


def _app_folder(folder: Path) -> Path:
    folder.mkdir()
    lifecycle = {name: f"/{name}" for name in ("installed", "uninstalled")}
    descriptor = {"id": "b", "name": "B", "baseUrl": "http://127.0.0.1", "lifecycle": lifecycle}
    (folder / "connect.json").write_text(json.dumps(descriptor))
    return folder


def _install(simulator: SimulatorServer, root: Path, config: dict[str, Any], secret: str) -> None:
    app, _ = _app(str(root), config)
    for subdomain in ORGANIZATIONS:
        organization = simulator.platform.organization(subdomain)
        user_id = str(simulator.platform.user(organization)["id"])
        row = Installation("b", "http://127.0.0.1", organization.id, user_id, secret)
        simulator.platform.put_installation(subdomain, row)
        body = {"organization_id": organization.id, "subdomain": subdomain, "shared_secret": secret}
        app.test_client().post("/installed", json=body)
    get_state(app).close()


def _app(root: str, config: dict[str, Any]) -> tuple[Flask, OrbroConnect]:
    app = Flask("benchmark", root_path=root, instance_path=root)
    app.config.update(config)
    return app, OrbroConnect(app)


def _process(root: str, config: dict[str, Any], start: Any, results: Any) -> None:
    """One process: makes tokens, lets them expire, and then calls from every thread at once.

    Puts ``(calls, failed, tokens made at the expiry)`` into ``results``.
    """
    app, orbro = _app(root, config)
    clients = [orbro.client_for(subdomain=subdomain, app=app) for subdomain in ORGANIZATIONS]
    with app.app_context():
        made = orbro.metrics_registry.get_sample_value
    for client in clients:
        client.get(PATH).raise_for_status()
    before = made("orbro_tokens_total") or 0
    start.wait(TIMEOUT)  # every process has the first tokens now
    time.sleep(FRESH + 0.5)
    statuses: list[int] = []
    ready = threading.Barrier(THREADS + 1)

    def call(client: Any) -> None:
        ready.wait(TIMEOUT)
        statuses.append(client.get(PATH).status_code)

    threads = [
        threading.Thread(target=call, args=(clients[number % len(clients)],)) for number in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    start.wait(TIMEOUT)
    ready.wait(TIMEOUT)
    for thread in threads:
        thread.join()
    failed = len(statuses) - statuses.count(200)
    results.put((len(statuses), failed, int((made("orbro_tokens_total") or 0) - before)))
    get_state(app).close()


def _authlib(python: Path, latency: float) -> tuple[str, ...]:
    name = f"Authlib's sync client, token endpoint {latency * 1e3:g} ms"
    progress(f"{name}, 1 x {OTHERS_THREADS} callers")
    with _token_server(latency) as (url, made):
        environment = clean_environment() | {
            "BENCHMARK_PLATFORM_URL": url,
            "BENCHMARK_THREADS": str(OTHERS_THREADS),
        }
        script = ROOT / "benchmarks" / "servers" / "authlib_client.py"
        done = subprocess.run(
            [str(python), str(script)], env=environment, capture_output=True, text=True, timeout=TIMEOUT
        )
    if done.returncode != 0:
        raise BenchmarkError(f"Authlib's client failed:\n{done.stderr.strip()[-1500:]}")
    failed = OTHERS_THREADS - int(done.stdout)
    return name, f"1 x {OTHERS_THREADS}", str(OTHERS_THREADS), str(failed), str(len(made)), str(len(made))


@contextmanager
def _token_server(latency: float) -> Iterator[tuple[str, list[str]]]:
    """A token endpoint that takes its time, and a resource; its URL, and the tokens that it made."""
    made: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            time.sleep(latency)
            made.append(secrets.token_urlsafe(16))
            self._answer({"access_token": made[-1], "token_type": "Bearer", "expires_in": 3600})

        def do_GET(self) -> None:
            self._answer({"data": []})

        def _answer(self, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 256

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", made
        finally:
            server.shutdown()
