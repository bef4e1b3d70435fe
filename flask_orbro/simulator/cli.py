"""Commands for ``flask orbro``: run the simulator, and drive it.

None of them needs the Flask app to be importable: they talk to it, and to the simulator, over HTTP.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from .models import TAMPERS

if TYPE_CHECKING:
    import httpx2

    from .server import SimulatorServer

_TIMEOUT = 60.0
#: For a burst of deliveries, in seconds.
_LONG = 3600.0
#: How long the main thread sleeps before it looks whether a signal has come, in seconds.
_SLEEP = 0.2
_KINDS = click.Choice(["user", "connect", "open-api", "webhook", "entra"])
_WHO = click.Choice(["user", "connect", "open-api", "webhook", "entra", "nobody"])


@click.command("simulator")
@click.option("--port", default=8001, show_default=True, help="TCP port; 0 takes a free one.")
@click.option("--base-name", default="orbro.localhost", show_default=True)
def simulator(port: int, base_name: str) -> None:
    """Run an imitation of the platform on this machine."""
    from .errors import SimulatorError
    from .server import SimulatorServer

    try:
        server = SimulatorServer(port, base_name=base_name).start()
    except SimulatorError as error:
        raise click.ClickException(str(error)) from None
    try:
        # Containers and process managers say SIGTERM where a person presses Ctrl-C.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        _announce(server)
        while True:  # a signal may reach another thread, and does not end this one's sleep then
            time.sleep(_SLEEP)
    except KeyboardInterrupt:
        click.echo("Stopped.")
    finally:
        server.stop()


def _announce(server: SimulatorServer) -> None:
    click.echo("An imitation of the platform, for development; never expose it.")
    click.echo(f"Organizations  http://{{subdomain}}.{server.platform_host}")
    click.echo(f"Control API    {server.url}")
    click.echo(f"Tokens         {server.url}/simulator/tokens")
    click.echo("Give the app these settings:")
    click.echo(f"  ORBRO_PLATFORM_HOST={server.platform_host}")
    click.echo("  ORBRO_PLATFORM_SCHEME=http")
    click.echo(f"Stand-ins for other back ends are below {server.url}/backends")
    click.echo("Ctrl-C ends it.")


class Driver:
    """One command's way to the simulator and to the app."""

    def __init__(self, simulator: str, app_url: str, organization: str, client_id: str | None) -> None:
        self.simulator = simulator.rstrip("/")
        self.app_url = app_url.rstrip("/")
        self.organization = organization
        self.client_id = client_id

    def ask(self, what: str, **fields: Any) -> dict[str, Any]:
        """POST to the control API.

        :raises click.ClickException: it cannot be reached or refuses.
        """
        body = {name: value for name, value in fields.items() if value is not None}
        url = f"{self.simulator}/simulator/{what}"
        timeout = _LONG if what == "deliveries" else _TIMEOUT
        response = _request("the simulator", "POST", url, "flask orbro simulator", json=body, timeout=timeout)
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or (response.status_code != 200 and "error_code" not in answer):
            raise click.ClickException(f"There is no simulator at {self.simulator}; something else answers.")
        if response.status_code != 200:
            raise click.ClickException(str(answer["message"]))
        return answer

    def act(self, what: str, **fields: Any) -> dict[str, Any]:
        """Have the simulator call the app, and print a line about it."""
        answer = self._ask_to_call(what, **fields)
        milliseconds = answer["elapsed"] * 1000
        click.echo(f"{what} {answer['url']}: {answer['status']} ({milliseconds:.0f} ms)")
        return answer

    def deliver(self, **fields: Any) -> dict[str, Any]:
        """Have the simulator deliver many events. :returns: its report."""
        return self._ask_to_call("deliveries", **fields)

    def _ask_to_call(self, what: str, **fields: Any) -> dict[str, Any]:
        where = {"organization": self.organization, "app_url": self.app_url, "client_id": self.client_id}
        return self.ask(what, **where, **fields)

    def token(self, kind: str) -> dict[str, Any]:
        """:returns: the simulator's answer, with ``token`` and ``origin``."""
        app_url = self.app_url if kind == "webhook" else None
        return self.ask("tokens", kind=kind, organization=self.organization, app_url=app_url)


def _driven(function: Callable[..., None]) -> Callable[..., None]:
    """Add the common options, and hand the command a :class:`Driver`."""

    @wraps(function)
    def command(simulator: str, app_url: str, organization: str, client_id: str | None, **rest: Any) -> None:
        function(Driver(simulator, app_url, organization, client_id), **rest)

    options = (
        click.option("--client-id", envvar="FLASK_ORBRO_CLIENT_ID", help="The app's client id."),
        click.option("--organization", default="acme", show_default=True, metavar="SUBDOMAIN"),
        click.option(
            "--app-url",
            envvar="ORBRO_APP_URL",
            default="http://127.0.0.1:5000",
            show_default=True,
            help="Where the app runs.",
        ),
        click.option(
            "--simulator",
            envvar="ORBRO_SIMULATOR_URL",
            default="http://127.0.0.1:8001",
            show_default=True,
            help="Where the simulator runs.",
        ),
    )
    for option in options:
        command = option(command)
    return command


@click.group("simulate")
def simulate() -> None:
    """Have the simulator act on your app, as the platform would."""


@simulate.command("install")
@click.option("--activate", type=click.Choice(["before", "after"]), default="before")
@_driven
def install(driver: Driver, activate: str) -> None:
    """Install the app, or install it again with a new secret."""
    _finish(driver.act("install", activate=activate))


@simulate.command("uninstall")
@click.option("--keep-secret", is_flag=True, help="Go on accepting the app's tokens.")
@_driven
def uninstall(driver: Driver, keep_secret: bool) -> None:
    """Uninstall the app."""
    _finish(driver.act("uninstall", revoke=not keep_secret))


@simulate.command("enable")
@_driven
def enable(driver: Driver) -> None:
    """Tell the app that it is enabled."""
    _finish(driver.act("enable"))


@simulate.command("disable")
@_driven
def disable(driver: Driver) -> None:
    """Tell the app that it is disabled."""
    _finish(driver.act("disable"))


@simulate.command("webhook")
@click.option("--event", required=True, help="Such as device:device_updated.")
@click.option("--data", default="{}", help="JSON, or @file.")
@click.option("--path", help="Where to; by default what the descriptor says for the event.")
@click.option("--repeat", type=click.IntRange(1), default=1, show_default=True)
@click.option("--older-sub", is_flag=True, help="Name the user in the token, as older ones did.")
@click.option("--force", is_flag=True, help="Deliver to an uninstalled app too.")
@click.option("--burst", "count", type=click.IntRange(1), help="So many different deliveries; with a report.")
@click.option("--concurrency", type=click.IntRange(1, 256), help="Requests at once.  [default: 1]")
@click.option("--duplicates", type=click.IntRange(1), help="Send each so many times more.")
@click.option("--reorder", is_flag=True, help="Send them in no order.")
@click.option("--seed", type=int, help="Of that order.")
@click.option("--replay", is_flag=True, help="Send each once more at the end.")
@click.option("--tamper", multiple=True, type=click.Choice(TAMPERS), help="Forge one more; may be repeated.")
@_driven
def webhook(
    driver: Driver,
    event: str,
    data: str,
    path: str | None,
    repeat: int,
    older_sub: bool,
    force: bool,
    tamper: tuple[str, ...],
    **many: Any,
) -> None:
    """Deliver an event to the app, or many of them and report what it answered."""
    fields = {"event": event, "data": _data(data), "path": path}
    if tamper or any(many.values()):
        _refuse_for_many({"--repeat": repeat > 1, "--older-sub": older_sub, "--force": force})
        _report(driver.deliver(tamper=list(tamper), **fields, **many))
    answers = [driver.act("webhook", older_sub=older_sub, force=force, **fields) for _ in range(repeat)]
    refused = [answer for answer in answers if not answer["ok"]]
    _finish(refused[0] if refused else answers[-1])


@simulate.command("call")
@click.argument("words", nargs=-1, required=True, metavar="[METHOD] PATH")
@click.option("--as", "who", type=_WHO, default="user", show_default=True, help="Who calls.")
@click.option("--data", help="JSON body, or @file; makes POST the default method.")
@_driven
def call(driver: Driver, words: tuple[str, ...], who: str, data: str | None) -> None:
    """Call the app with a token of the platform."""
    if len(words) > 2:
        raise click.UsageError("Give a path, or a method and a path.")
    body = None if data is None else _data(data)
    default = "GET" if data is None else "POST"
    method, path = (default, words[0]) if len(words) == 1 else (words[0].upper(), words[1])
    url, headers = f"{driver.app_url}/{path.lstrip('/')}", {}
    if who != "nobody":
        answer = driver.token(who)
        click.echo(f"token {who} of {answer['organization']}: made")
        headers["Authorization"] = f"Bearer {answer['token']}"
        if who in ("user", "connect"):
            url = _with_origin(url, answer["origin"])
    request: dict[str, Any] = {"headers": headers}
    if data is not None:
        request["json"] = body
    response = _request("the app", method, url, "flask run", **request)
    click.echo(f"{method} {url}: {response.status_code}")
    try:
        shown = response.json()
    except ValueError:
        shown = response.text
    _finish({"ok": response.is_success, "body": shown})


@simulate.command("token")
@click.argument("kind", type=_KINDS)
@_driven
def token(driver: Driver, kind: str) -> None:
    """Print a token, and nothing else."""
    click.echo(driver.token(kind)["token"])


def _refuse_for_many(given: dict[str, bool]) -> None:
    if names := " and ".join(name for name, is_given in given.items() if is_given):
        raise click.UsageError(
            f"Leave out {names}: --burst, --concurrency, --duplicates, --reorder, --seed, --replay and "
            "--tamper do not go with it."
        )


def _report(report: dict[str, Any]) -> NoReturn:
    click.echo(f"{report['sent']} deliveries to {report['url']} in {report['seconds']:.1f} s")
    for kind, answers in report["answers"].items():
        for answer, count in sorted(answers.items()):
            click.echo(f"  {kind:<24} {answer:<28} {count:>7}")
    times = (f"{name} {report[name] * 1000:.0f} ms" for name in ("p50", "p99", "slowest"))
    click.echo(f"  answered in {', '.join(times)}")
    sys.exit(0 if report["ok"] else 1)


def _finish(answer: dict[str, Any]) -> NoReturn:
    body = answer["body"]
    click.echo(body if isinstance(body, str) else json.dumps(body, indent=2, ensure_ascii=False))
    sys.exit(0 if answer["ok"] else 1)


def _data(text: str) -> Any:
    source = "--data"
    if text.startswith("@"):
        source = text[1:]
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "is not UTF-8 text"
            raise click.ClickException(f"{source} cannot be read: {reason}") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.ClickException(f"{source} is not JSON: {error}") from None


def _with_origin(url: str, origin: str) -> str:
    import httpx2

    try:
        return str(httpx2.URL(url).copy_merge_params({"origin": origin}))
    except httpx2.InvalidURL as error:
        raise click.ClickException(f"{url} is not a URL: {error}") from None


def _request(whom: str, method: str, url: str, started_by: str, **request: Any) -> httpx2.Response:
    """:raises click.ClickException: nobody answers; it names what would start somebody who does."""
    import httpx2

    try:
        # Both run on this machine: a proxy of the environment has no business here.
        return httpx2.request(method, url, **({"timeout": _TIMEOUT, "trust_env": False} | request))
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        reason = str(error) or type(error).__name__
        raise click.ClickException(
            f"{whom} at {url} cannot be reached: {reason}. Start it with '{started_by}'."
        ) from None
