"""Real parts for every test: a simulated platform and apps, both over HTTP on loopback."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from flask_orbro import OrbroConnect
from flask_orbro.crypto import new_key
from flask_orbro.simulator import SimulatorServer
from flask_orbro.state import get_state

LIFECYCLE = {name: f"/{name}" for name in ("installed", "uninstalled", "enabled", "disabled")}
DESCRIPTOR = {
    "id": "com.example.tests",
    "name": "Tests",
    "baseUrl": "http://127.0.0.1",
    "lifecycle": LIFECYCLE,
    "modules": {
        "webhooks": [
            {
                "event_name": "device:device_updated",
                "callback_api": "http://127.0.0.1/webhook/device",
                "property": "profile_id",
                "value": "Fixed.UWB.Anchor",
            }
        ]
    },
}
CLIENT_ID = "client-of-the-tests"
CLIENT_SECRET = "client-secret-of-the-tests-0123456789"
ENCRYPTION_KEY = new_key()


#: What takes longest begins first, so that no worker is left alone with it in the end.
LONG = {"test_celery.py", "test_kill.py", "test_install_storm.py", "test_lifecycle_stateful.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with browser tests come last: from the first on an event loop runs in this thread, and no async
    view can.
    """
    with_browser = {item.path for item in items if "page" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: (item.path in with_browser, item.path.name not in LONG))


@pytest.fixture
def simulator() -> Iterator[SimulatorServer]:
    """The platform, on a port of its own."""
    with SimulatorServer() as server:
        yield server


@pytest.fixture
def settings(simulator: SimulatorServer) -> dict[str, Any]:
    """Settings of an app of that platform."""
    return {
        "ORBRO_CLIENT_ID": CLIENT_ID,
        "ORBRO_CLIENT_SECRET": CLIENT_SECRET,
        "ORBRO_ENCRYPTION_KEYS": ENCRYPTION_KEY,
        "ORBRO_OPEN_API_TOKEN": simulator.platform.open_api_token(),
        "ORBRO_PLATFORM_HOST": simulator.platform_host,
        "ORBRO_PLATFORM_SCHEME": "http",
        "ORBRO_SWEEPER": False,
    }


@pytest.fixture
def make_app(tmp_path: Path, settings: dict[str, Any]) -> Iterator[Callable[..., Flask]]:
    """Makes apps with the extension: ``make_app(orbro=OrbroConnect(...), TESTING=True, ORBRO_…=…)``.

    Each has a folder of its own, with its descriptor, as root and as instance folder.
    """
    apps: list[Flask] = []

    def make(orbro: OrbroConnect | None = None, **config: Any) -> Flask:
        folder = tmp_path / f"app{len(apps)}"
        folder.mkdir()
        (folder / "connect.json").write_text(json.dumps(DESCRIPTOR))
        app = Flask(f"app{len(apps)}", root_path=str(folder), instance_path=str(folder))
        app.config.update(settings | config)
        (orbro or OrbroConnect()).init_app(app)
        apps.append(app)
        return app

    yield make
    for app in apps:
        get_state(app).close()


@contextmanager
def serve(app: Flask) -> Iterator[str]:
    """The app over HTTP on a free port; its URL."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def serving() -> Iterator[Callable[[Flask], str]]:
    """Serves apps until the test ends: ``url = serving(app)``."""
    with ExitStack() as stack:
        yield lambda app: stack.enter_context(serve(app))


@pytest.fixture
def started_threads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the threads that the test's own thread starts; those of earlier tests come and go."""
    names: list[str] = []
    own, start = threading.current_thread(), threading.Thread.start

    def record(thread: threading.Thread) -> None:
        if threading.current_thread() is own:
            names.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", record)
    return names


@pytest.fixture
def origin(simulator: SimulatorServer) -> str:
    """Where the organization ``acme`` lives."""
    return f"http://acme.{simulator.platform_host}"


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def need_service(
    name: str, probe: Callable[[], Any], *, missing: str = "is not reachable on loopback"
) -> None:
    """Skip where a service of this machine is missing; fail where it has to be there."""
    try:
        probe()
    except Exception as error:
        reason = f"{name} {missing}: {type(error).__name__}"
        if os.environ.get("ORBRO_TEST_SERVICES") == "required":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture
def make_world(
    make_app: Callable[..., Flask], serving: Callable[[Flask], str], simulator: SimulatorServer
) -> Callable[..., Any]:
    """Makes a :class:`tests.world.World`: an app with a view for each credential, installed for ``acme``."""
    from .world import World  # it imports from here

    return partial(World, make_app, serving, simulator)
