"""``flask orbro connections``: what the app is connected to, and whether it works."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

import click
from flask.cli import with_appcontext

from ..connections import ConnectionRegistry
from ..connections.auth import ConnectApp
from ..connections.checking import Step, check, check_health
from ..state import get_state

_json_lines = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


@click.group("connections", invoke_without_command=True)
@_json_lines
@click.pass_context
@with_appcontext
def connections(context: click.Context, as_json: bool) -> None:
    """List the connections to other back ends, or try one out."""
    if context.invoked_subcommand is not None:
        return
    for name, definition in get_state().connections.definitions.items():
        told = {"name": name, "kind": definition.kind, "auth": definition.auth_kind, "url": definition.url}
        if as_json:
            click.echo(json.dumps(told))
        else:
            click.echo(f"{name:<20} {definition.kind:<14} {definition.auth_kind:<26} {definition.url or '-'}")


@connections.command("check")
@click.argument("name")
@click.option("--organization", help="Its id, where the connection is the platform and names none.")
@_json_lines
@with_appcontext
def check_connection(name: str, organization: str | None, as_json: bool) -> None:
    """Get a token, call the health path, and tell how long each takes. Fails where a step does."""
    registry = get_state().connections
    if name not in registry.definitions:
        known = ", ".join(registry.definitions) or "none"
        raise click.ClickException(f"There is no connection {name}; there are: {known}.")
    failed = False
    for step in _steps(registry, name, organization):
        failed |= not step.ok
        if as_json:
            click.echo(json.dumps(asdict(step)))
        else:
            outcome = "ok" if step.ok else "failed"
            click.echo(f"{outcome:<7} {step.step:<24} {step.seconds * 1000:6.0f} ms  {step.said}")
    if failed:
        raise click.exceptions.Exit(1)


def _steps(registry: ConnectionRegistry, name: str, organization: str | None) -> Iterator[Step]:
    if name in registry.parts:
        return check(registry.parts[name])
    definition = registry.definitions[name]
    if not (organization or (isinstance(definition.auth, ConnectApp) and definition.auth.organization_id)):
        raise click.ClickException(
            f"{name} acts for the organization of its caller, and here is none: name it with --organization."
        )
    return check_health(lambda: registry.platform_client(name, organization), definition.health)
