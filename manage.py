"""``python manage.py run | seed | routes | db | demo | test``: what one does with the example app."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from flask import Flask

ROOT = Path(__file__).resolve().parent
_PORT = click.IntRange(0, 65535)
#: All tests: they wait more than they compute. A file's tests stay together, and the browser's come last.
_ALL_TESTS = ("-n", "4", "--dist", "loadfile", "--no-loadscope-reorder")


@click.group()
def main() -> None:
    """Run the example app, see it work, test it."""


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
def run(host: str, port: int) -> None:
    """Run the example app on Flask's development server."""
    app = _create_app()
    _need_port(host, port)
    click.echo(f"Swagger UI  http://{host}:{port}/docs")
    app.run(host, port, load_dotenv=False)


@main.command()
def seed() -> None:
    """Add demo accounts and posts, and print the accounts' passwords."""
    with _create_app().app_context():
        from example_app.database import check_database
        from example_app.seed import seed
        from flask_orbro import ConfigurationError

        try:
            check_database()
        except ConfigurationError as error:
            raise click.ClickException(str(error)) from None
        added = False
        for user_id, password in seed():
            added = True
            click.echo(f"{user_id}  {password}")
        click.echo("Log in with POST /user/auth." if added else "The demo accounts are there already.")


@main.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def db(arguments: tuple[str, ...]) -> None:
    """Migrations; db --help lists what can be done."""
    _flask("db", *arguments)


@main.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def routes(arguments: tuple[str, ...]) -> None:
    """List all routes."""
    _flask("routes", *arguments)


@main.command()
@click.option("--once", is_flag=True, help="End after the round; exit 0 where all was as expected.")
@click.option("--port", default=0, type=_PORT, help="Of the app; a free one by default.")
@click.option("--platform-port", default=0, type=_PORT, help="Of the simulator; a free one by default.")
def demo(once: bool, port: int, platform_port: int) -> None:
    """Run the simulated platform and the example app, and show what they do."""
    from demo import demo

    sys.exit(demo(once=once, port=port, platform_port=platform_port))


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(arguments: tuple[str, ...]) -> None:
    """Run all tests, four at a time; or give arguments of your own to pytest."""
    if importlib.util.find_spec("pytest") is None:
        raise click.ClickException("pytest is not installed. Install it with: pip install -e '.[test]'")
    with subprocess.Popen([sys.executable, "-m", "pytest", *(arguments or _ALL_TESTS)], cwd=ROOT) as pytest:  # noqa: S603
        try:
            code = pytest.wait()
        except KeyboardInterrupt:
            # pytest has seen Ctrl-C too, and is summing up.
            code = pytest.wait()
    sys.exit(code if code >= 0 else 128 - code)


def _create_app(**config: Any) -> Flask:
    from example_app import create_app
    from flask_orbro import ConfigurationError

    try:
        return create_app(config)
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from None


def _flask(*arguments: str) -> None:
    """A command of Flask's own command line, for the example app."""
    from flask.cli import FlaskGroup

    # Else a start would undo what "db downgrade" has done, and nothing would start past a broken migration.
    app = _create_app(MIGRATE_ON_START=False)
    FlaskGroup(create_app=lambda: app).main(arguments, prog_name="manage.py")


def _need_port(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise click.ClickException(f"Port {port} of {host} cannot be used: {reason}.") from None


if __name__ == "__main__":
    try:
        main()
    except ModuleNotFoundError as error:
        sys.exit(f"Error: {error.name} is not installed. Install it with: pip install -e '.[example]'")
