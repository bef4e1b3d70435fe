"""``python -m benchmarks quick``: the example app and the simulator, and what each kind of request costs."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener
from urllib.request import Request as UrlRequest

from .figures import Book, main_table, table
from .load import Load, Request
from .options import Options
from .processes import Children, Cores, free_port, gunicorn
from .runner import Run, Server, heading, progress, run_rounds

ORGANIZATION = "acme"
CLIENT_ID = "benchmark"
#: Longer than any run, shorter than the longest life that the app allows a webhook token (seconds).
TOKEN_LIFE = 3500
BARE, WEBHOOK = "bare route", "webhook"
AUTHENTICATED, OUTBOUND = "authenticated, warm verdict", "authenticated, outbound call"
EVENT = {
    "event_name": "device:device_updated",
    "organization_id": ORGANIZATION,
    "data": {"profile_id": "Fixed.UWB.Anchor", "battery": 0.87},
}


def run(options: Options) -> str:
    """Measure, and end all that was started.

    :returns: the report.
    :raises BenchmarkError: it cannot be measured.
    """
    cores = Cores()
    load = Load(connections=options.connections, cores=cores.load, tool=options.driver)
    with TemporaryDirectory(prefix="orbro-benchmark-") as name, Children(Path(name)) as children:
        server, simulator = start_example(Path(name), children, cores, options.threads)
        requests = _requests(server, simulator)
        runs = [
            Run(server, scenario, request)
            for scenario, request in requests.items()
            if options.only in scenario
        ]
        book = run_rounds(options.plan, runs, load=load, children=children)
        title = f"Flask-Orbro example app, gunicorn, one worker, {options.threads} threads"
        head = heading(title, options.plan, load, cores, options.connections)
        return f"{head}\n\n{main_table(book)}\n\n{_added(book)}\n"


def start_example(folder: Path, children: Children, cores: Cores, threads: int) -> tuple[Server, str]:
    """The simulator and the app, which ``acme`` then installs."""
    platform_port, app_port = free_port(), free_port()
    simulator = f"http://127.0.0.1:{platform_port}"
    progress("starting the simulator and the example app")
    command = [sys.executable, "-m", "flask", "orbro", "simulator", "--port", str(platform_port)]
    children.start("simulator", command, cores=cores.load)
    children.wait_for(f"{simulator}/simulator")
    settings = {
        "BENCHMARK_FOLDER": str(folder),
        "FLASK_ORBRO_CLIENT_ID": CLIENT_ID,
        "FLASK_ORBRO_CLIENT_SECRET": secrets.token_urlsafe(32),
        "FLASK_JWT_SECRET_KEY": secrets.token_urlsafe(32),
        "FLASK_ORBRO_PLATFORM_HOST": f"orbro.localhost:{platform_port}",
        "FLASK_ORBRO_PLATFORM_SCHEME": "http",
        "FLASK_SQLALCHEMY_DATABASE_URI": f"sqlite:///{folder}/benchmark.sqlite",
    }
    argv = gunicorn("benchmarks.servers.example:create_app()", app_port, threads=threads)
    pid = children.start("app", argv, environment=settings, cores=cores.server)
    app = f"http://127.0.0.1:{app_port}"
    children.wait_for(f"{app}/bare")
    _post(f"{simulator}/simulator/install", organization=ORGANIZATION, app_url=app, client_id=CLIENT_ID)
    progress(f"{ORGANIZATION} has installed the app")
    return Server("example app", pid, app_port), simulator


def _requests(server: Server, simulator: str) -> dict[str, Request]:
    def token(kind: str, **fields: Any) -> dict[str, Any]:
        fields |= {"organization": ORGANIZATION, "expires_in": TOKEN_LIFE}
        return _post(f"{simulator}/simulator/tokens", kind=kind, **fields)

    user = token("user")
    webhook = token("webhook", app_url=f"http://127.0.0.1:{server.port}")
    query = f"?origin={quote(user['origin'], safe='')}"
    bearer = f"Bearer {user['token']}"
    return {
        BARE: Request("/bare"),
        WEBHOOK: Request(
            "/webhook/device",
            "POST",
            f"Bearer {webhook['token']}",
            {"Content-Type": "application/json"},
            json.dumps(EVENT),
        ),
        AUTHENTICATED: Request("/platform/me" + query, authorization=bearer),
        OUTBOUND: Request("/platform/users" + query, authorization=bearer),
    }


def _added(book: Book) -> str:
    bare = book["example app", BARE]
    if bare is None:  # left out
        return ""
    lines = [
        (scenario, f"{(figures.cpu - bare.cpu) * 1e6:,.0f}")
        for _, scenario, figures in book.rows()
        if scenario != BARE
    ]
    return table(("scenario", "CPU added to a bare route, µs/request"), lines)


def _post(url: str, **fields: Any) -> dict[str, Any]:
    request = UrlRequest(url, json.dumps(fields).encode(), {"Content-Type": "application/json"})
    # Both ends are on this machine: a proxy of the environment has no business here.
    with build_opener(ProxyHandler({})).open(request, timeout=30) as answer:
        document: dict[str, Any] = json.load(answer)
    return document
