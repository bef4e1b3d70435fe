"""Starts both, takes the tour, and stays up until Ctrl-C."""

from __future__ import annotations

import importlib.util
import os
import secrets
import sys
import tempfile
import time
from pathlib import Path

import click
import httpx2

from .processes import Child, Children, DemoError, Stopped, children, free_ports
from .tour import ORGANIZATION, Tour

PROJECT = Path(__file__).resolve().parent.parent
#: Of the developer's own set-up, which has no say in the demo.
_FOREIGN_PREFIXES = ("FLASK_", "ORBRO_")
_FOREIGN = {"SERVICE_ENV", "ENV", "GUNICORN_CMD_ARGS", "WEB_CONCURRENCY"}


def demo(*, once: bool, port: int = 0, platform_port: int = 0) -> int:
    """Run the demo.

    :param once: end after the round.
    :param port: of the app; 0 takes a free one, as for ``platform_port``.
    :returns: the exit code: 0 where every step was as expected.
    """
    good: bool | None = None
    # The folder outlives the children, who have their files there.
    with tempfile.TemporaryDirectory(prefix="orbro-demo-", ignore_cleanup_errors=True) as folder:
        try:
            with children() as started:
                running = _start(started, Path(folder), port, platform_port)
                good = running.tour()
                if not once:
                    running.stay()
        except Stopped:
            click.echo("\nStopped.")
        except DemoError as error:
            click.echo(f"Error: {error}", err=True)
            return 1
    return 130 if good is None else int(not good)


class Running:
    """The platform and the app, both healthy."""

    def __init__(self, platform: Child, app: Child, platform_url: str, app_url: str, client_id: str) -> None:
        self._children = (platform, app)
        self._platform_url = platform_url
        self._app_url = app_url
        self._client_id = client_id

    def tour(self) -> bool:
        """:returns: whether every step was as expected.

        :raises DemoError: the platform fails.
        """
        with Tour(self._app_url, self._platform_url, self._client_id) as tour:
            try:
                good = tour.go()
            except (httpx2.HTTPError, ValueError, KeyError) as error:
                for child in self._children:
                    child.check()
                raise DemoError(f"The simulator does not answer as it should: {error!r}.") from None
        click.echo(f"\n{tour.steps - tour.surprises} of {tour.steps} steps were as expected.")
        return good

    def stay(self) -> None:
        """Tell where everything is, and wait.

        :raises DemoError: a child ended by itself.
        """
        simulate = f"--simulator {self._platform_url} --app-url {self._app_url}"
        click.echo(f"\nSwagger UI  {self._app_url}/docs")
        click.echo(f"Simulator   {self._platform_url}/simulator")
        click.echo(f"Tokens      {self._platform_url}/simulator/tokens")
        click.echo(f"A webhook   flask orbro simulate webhook --event device:device_updated {simulate}")
        click.echo(f"In Swagger UI, name the organization {ORGANIZATION} in the header 'sub'.")
        click.echo("Ctrl-C ends both.")
        while True:
            time.sleep(0.5)
            for child in self._children:
                child.check()


def _start(started: Children, folder: Path, port: int, platform_port: int) -> Running:
    port, platform_port = free_ports(port, platform_port)
    platform_url, app_url = f"http://127.0.0.1:{platform_port}", f"http://127.0.0.1:{port}"
    client_id = f"demo-{secrets.token_hex(8)}"
    environ = {
        name: value
        for name, value in os.environ.items()
        if name not in _FOREIGN and not name.startswith(_FOREIGN_PREFIXES)
    }
    environ |= {
        "FLASK_SKIP_DOTENV": "1",
        "FLASK_ORBRO_CLIENT_ID": client_id,
        "FLASK_ORBRO_CLIENT_SECRET": secrets.token_urlsafe(48),
        "FLASK_JWT_SECRET_KEY": secrets.token_urlsafe(48),
        "FLASK_ORBRO_PLATFORM_HOST": f"orbro.localhost:{platform_port}",
        "FLASK_ORBRO_PLATFORM_SCHEME": "http",
        **_stand_ins(f"{platform_url}/backends"),
        # gunicorn keeps its control socket there: another gunicorn's must be left alone.
        "XDG_RUNTIME_DIR": str(folder),
        "PYTHONUNBUFFERED": "1",
    }
    click.echo(f"Starting the platform at {platform_url}")
    simulator = [sys.executable, "-m", "flask", "orbro", "simulator", "--port", str(platform_port)]
    platform = started.start(
        "The simulator", simulator, environ=environ, cwd=PROJECT, log=folder / "platform.log"
    )
    click.echo(f"Starting the app at {app_url}")
    app = started.start(
        "The app", _server(port, folder), environ=environ, cwd=PROJECT, log=folder / "app.log"
    )
    platform.wait_until_healthy(f"{platform_url}/simulator/state")
    app.wait_until_healthy(f"{app_url}/healthz")
    return Running(platform, app, platform_url, app_url, client_id)


def _stand_ins(url: str) -> dict[str, str]:
    """Where the app finds the simulator's other back ends."""
    return {
        "FLASK_WEATHER_URL": url,
        "FLASK_NOTES_URL": url,
        "FLASK_EHR_URL": f"{url}/fhir",
        "FLASK_OAUTH_TOKEN_URL": f"{url}/oauth/token",
        "FLASK_SIDECAR_URL": f"{url}/sidecar",
    }


def _server(port: int, instance: Path) -> list[str]:
    """gunicorn where it is installed, else Flask's own server."""
    app = f"example_app:create_app(instance_path={str(instance)!r})"
    if importlib.util.find_spec("gunicorn") is None:
        return [sys.executable, "-m", "flask", "--app", app, "run", "--port", str(port), "--no-reload"]
    options = ["--workers", "1", "--threads", "8", "--graceful-timeout", "2"]
    return [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", *options, app]
