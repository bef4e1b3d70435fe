"""``python -m benchmarks inline``: ``@webhook_required`` beside the platform's SDK and slack-bolt."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .compare import DESCRIPTOR
from .figures import Book, main_table, table
from .load import Load, Request
from .options import Options
from .peer_environment import make_environment
from .processes import Children, Cores, free_port, gunicorn
from .runner import Run, Server, heading, progress, run_rounds
from .scenarios import BARE, CLIENT_ID, ORGANIZATION_ID, OURS, PEER, WEBHOOK, Requests

SLACK = "slack-bolt"
REQUIREMENTS = ("slack-bolt==1.*", "flask>=3.1,<4", "gunicorn>=23")


def run(options: Options) -> str:
    """Measure, and end all that was started.

    :raises BenchmarkError: it cannot be measured.
    """
    cores = Cores()
    load = Load(connections=options.connections, cores=cores.load, tool=options.driver)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="orbro-inline-")))
        kept = (options.venv or folder).absolute()
        peer_python = make_environment(kept / "peer-venv", progress)
        slack_python = make_environment(kept / "slack-venv", progress, REQUIREMENTS)
        children = stack.enter_context(Children(folder))
        site = _Site(folder, children, cores, options.threads)
        ours, peer, slack = site.ours(), site.peer(peer_python), site.slack(slack_python)
        # Signed now: slack-bolt takes a signature for five minutes.
        webhook, event = site.requests.webhook(), site.slack_event()
        runs = [Run(server, BARE, Request("/bare")) for server in (ours, peer, slack)]
        runs += [Run(ours, WEBHOOK, webhook), Run(peer, WEBHOOK, webhook), Run(slack, WEBHOOK, event)]
        book = run_rounds(options.plan, runs, load=load, children=children)
        title = "@webhook_required beside orbro-python-sdk 0.23 (FastAPI) and slack-bolt (Flask)"
        return f"{heading(title, options.plan, load, cores, options.connections)}\n\n{_report(book)}"


class _Site:
    """Starts the servers; there is no platform, for none of them asks it."""

    def __init__(self, folder: Path, children: Children, cores: Cores, threads: int) -> None:
        self._folder, self._children, self._cores, self._threads = folder, children, cores, threads
        self._slack_secret = secrets.token_hex(16)
        self.requests = Requests("orbro.localhost", secrets.token_urlsafe(32))

    def ours(self) -> Server:
        environment = {
            "BENCHMARK_ORGANIZATION": ORGANIZATION_ID,
            "FLASK_ORBRO_CLIENT_ID": CLIENT_ID,
            "FLASK_ORBRO_CLIENT_SECRET": secrets.token_urlsafe(32),
            "FLASK_ORBRO_INSTALL_PROOF": "none",
        }
        return self._installed(
            self._start(OURS, gunicorn, "benchmarks.servers.ours:create_app()", environment)
        )

    def peer(self, python: Path) -> Server:
        environment = {
            "BENCHMARK_PLATFORM_HOST": "orbro.localhost",
            "BENCHMARK_CLIENT_ID": CLIENT_ID,
            "BENCHMARK_CLIENT_SECRET": secrets.token_urlsafe(32),
        }

        def uvicorn(app: str, port: int, *, threads: int) -> list[str]:
            options = ("--loop", "uvloop", "--no-access-log", "--log-level", "warning")
            return [str(python), "-m", "uvicorn", app, "--port", str(port), *options]

        return self._installed(self._start(PEER, uvicorn, "benchmarks.servers.peer:app", environment))

    def slack(self, python: Path) -> Server:
        def its_gunicorn(app: str, port: int, *, threads: int) -> list[str]:
            return [str(python), *gunicorn(app, port, threads=threads)[1:]]

        environment = {"BENCHMARK_SLACK_SECRET": self._slack_secret}
        return self._start(SLACK, its_gunicorn, "benchmarks.servers.slack:create_app()", environment)

    def slack_event(self) -> Request:
        event = {"type": "device_updated", "data": {"profile_id": "Fixed.UWB.Anchor"}}
        body = json.dumps({"type": "event_callback", "team_id": "T1", "event": event})
        at = str(int(time.time()))
        digest = hmac.new(self._slack_secret.encode(), f"v0:{at}:{body}".encode(), hashlib.sha256).hexdigest()
        headers = {"X-Slack-Request-Timestamp": at, "X-Slack-Signature": f"v0={digest}"}
        return Request("/slack/events", "POST", None, headers | {"Content-Type": "application/json"}, body)

    def _start(self, name: str, command: Any, app: str, environment: dict[str, str]) -> Server:
        folder, port = self._folder / name, free_port()
        folder.mkdir()
        (folder / "connect.json").write_text(json.dumps(DESCRIPTOR))
        progress(f"starting {name}")
        pid = self._children.start(
            f"{name}-server",
            command(app, port, threads=self._threads),
            environment=environment | {"BENCHMARK_FOLDER": str(folder)},
            cores=self._cores.server,
        )
        self._children.wait_for(f"http://127.0.0.1:{port}/bare")
        return Server(name, pid, port)

    def _installed(self, server: Server) -> Server:
        Load(connections=1, cores=None).once(server.port, self.requests.install())
        return server


def _report(book: Book) -> str:
    added = {name: _cpu(book, name, WEBHOOK) - _cpu(book, name, BARE) for name in (OURS, PEER, SLACK)}
    rate = book.rate_ratio((OURS, WEBHOOK), (PEER, WEBHOOK)) or 0
    lines = [
        ("requests/s, times the peer", f"{rate:.2f}", "at least 1.5"),
        (
            "CPU/request, times slack-bolt",
            f"{_cpu(book, OURS, WEBHOOK) / _cpu(book, SLACK, WEBHOOK):.2f}",
            "at most 1.3",
        ),
        (
            "CPU added over the bare route, times slack-bolt",
            f"{added[OURS] / added[SLACK]:.2f}",
            "at most 1.3",
        ),
    ]
    added_lines = [(name, f"{seconds * 1e6:,.0f}") for name, seconds in added.items()]
    parts = (
        main_table(book),
        table(("server", "CPU added by a webhook, µs"), added_lines),
        table(("flask-orbro", "measured", "target"), lines),
    )
    return "\n\n".join(parts) + "\n"


def _cpu(book: Book, server: str, scenario: str) -> float:
    figures = book[server, scenario]
    return figures.cpu if figures else float("nan")
