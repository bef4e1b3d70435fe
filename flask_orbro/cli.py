"""``flask orbro …``: set up, try out and look after a Connect app."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from flask.cli import AppGroup, with_appcontext

from .config import INSTANCE_FILE
from .installation import Claim, Organization
from .protocol import subdomain_label
from .simulator.cli import simulate, simulator
from .state import get_state

orbro = AppGroup("orbro", help="Set up, try out and look after a Connect app.")
orbro.add_command(simulator)
orbro.add_command(simulate)

_TEMPLATE = """\
# Secrets of this app. Keep this file out of version control.
SECRET_KEY = "{secret_key}"
JWT_SECRET_KEY = "{jwt_secret_key}"

# The platform gives you these two when you register the app. Until then the values below are
# random ones, good for 'flask orbro simulator' alone.
ORBRO_CLIENT_ID = "{client_id}"
ORBRO_CLIENT_SECRET = "{client_secret}"

# Only for calls with the Open API token of your own organization.
# ORBRO_OPEN_API_TOKEN = ""
"""


@orbro.command("init", with_appcontext=False)
@click.option(
    "--instance-path",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("instance"),
    show_default=True,
    help="The app's instance folder.",
)
def init(instance_path: Path) -> None:
    """Write an application.cfg with random secrets into the instance folder; never overwrites one."""
    path = instance_path / INSTANCE_FILE
    content = _TEMPLATE.format(
        secret_key=secrets.token_urlsafe(48),
        jwt_secret_key=secrets.token_urlsafe(48),
        client_id=f"dev-{secrets.token_hex(8)}",
        client_secret=secrets.token_urlsafe(48),
    )
    try:
        instance_path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        raise click.ClickException(f"{path} is already there; it is left as it is.") from None
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}.") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(content)
    click.echo(f"Wrote {path} with random secrets. Put the platform's client id and secret there.")


@orbro.command("descriptor")
def descriptor() -> None:
    """Print the app descriptor as it is served."""
    click.echo(json.dumps(get_state().descriptor.document, indent=2, ensure_ascii=False))


@orbro.command("sweep")
def sweep() -> None:
    """Ask the platform about every claim and every uninstall that is due."""
    state = get_state()
    due = state.inquiry.sweep()
    waiting = state.claims.count()
    click.echo(f"{waiting} claims wait." + ("" if due is None else " More is due later."))


@orbro.group("organizations", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_context
@with_appcontext
def organizations(context: click.Context, as_json: bool) -> None:
    """List the organizations that have installed the app, or say what is to become of one."""
    if context.invoked_subcommand is not None:
        return
    for record in _organization_records():
        if as_json:
            click.echo(json.dumps(record))
        else:
            click.echo(
                f"{record['organization_id']}  {record['state']:<12} {record['subdomain'] or '-':<20} "
                f"{record['claims_waiting']} claims waiting"
            )


@organizations.command("approve")
@click.argument("organization_id")
@click.option("--subdomain", help="Where the claim names none.")
@click.option("--digest", help="The beginning of the claim's digest, where several wait.")
@with_appcontext
def approve(organization_id: str, subdomain: str | None, digest: str | None) -> None:
    """Trust a waiting install on your own word, without the platform's."""
    state = get_state()
    if subdomain is not None and (subdomain := subdomain_label(subdomain)) is None:
        raise click.ClickException("--subdomain must be a single DNS label, such as acme.")
    claim = _one_claim(state.claims.of_organization(organization_id), digest)
    after = state.lifecycle.approve(claim, subdomain=subdomain)
    _echo(after)


@organizations.command("remove")
@click.argument("organization_id")
@with_appcontext
def remove(organization_id: str) -> None:
    """Uninstall on your own word: erase the secret and drop what waits."""
    state = get_state()
    waiting = len(state.claims.of_organization(organization_id))
    after = state.lifecycle.remove(organization_id)
    if after is None and not waiting:
        raise click.ClickException(f"No organization {organization_id} is known.")
    if waiting:
        click.echo(f"{waiting} waiting installs of {organization_id} are dropped.")
    _echo(after)


def _organization_records() -> Iterator[dict[str, Any]]:
    state = get_state()
    waiting = state.claims.count_by_organization()
    for organization in state.organizations.all():
        yield _record(organization, waiting.pop(organization.organization_id, 0))
    for organization_id, count in waiting.items():
        yield {
            "organization_id": organization_id,
            "state": "pending",
            "subdomain": None,
            "claims_waiting": count,
        }


def _record(organization: Organization, claims_waiting: int) -> dict[str, Any]:
    return {
        "organization_id": organization.organization_id,
        "state": organization.state.value,
        "subdomain": organization.bound_subdomain,
        "claims_waiting": claims_waiting,
    }


def _one_claim(claims: list[Claim], digest: str | None) -> Claim:
    found = [claim for claim in claims if claim.digest.startswith(digest or "")]
    if not found:
        raise click.ClickException("No install of this organization waits.")
    if len(found) > 1:
        listed = "\n".join(
            f"  {claim.digest[:12]}  subdomain {claim.subdomain or '-'}  refused {claim.refused} times"
            for claim in found
        )
        raise click.ClickException(f"Several installs wait; choose one with --digest:\n{listed}")
    return found[0]


def _echo(organization: Organization | None) -> None:
    if organization is not None:
        click.echo(f"{organization.organization_id} is {organization.state.value}.")
