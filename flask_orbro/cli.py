"""``flask orbro …``: set up, try out and look after a Connect app."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from flask import current_app
from flask.cli import AppGroup, with_appcontext

from .cli_deliveries import deliveries, sweep_inbox, worker
from .config import INSTANCE_FILE
from .connections_cli import connections
from .crypto import new_key
from .descriptor import faults
from .errors import DescriptorError
from .installation import Claim, Organization, State
from .migrations import make_tables
from .protocol import subdomain_label
from .served import file_drift, served_descriptor
from .simulator.cli import simulate, simulator
from .state import get_state
from .stores.rotation import PLAIN

orbro = AppGroup("orbro", help="Set up, try out and look after a Connect app.")
orbro.add_command(simulator)
orbro.add_command(simulate)
orbro.add_command(connections)
orbro.add_command(deliveries)
orbro.add_command(worker)

_TEMPLATE = """\
# Secrets of this app. Keep this file out of version control.
SECRET_KEY = "{secret_key}"
JWT_SECRET_KEY = "{jwt_secret_key}"

# The platform gives you these two when you register the app. Until then the values below are
# random ones, good for 'flask orbro simulator' alone.
ORBRO_CLIENT_ID = "{client_id}"
ORBRO_CLIENT_SECRET = "{client_secret}"

# Encrypts what organizations share with this app, in its database. Without it, all of them have to
# install the app again: keep a copy, but not beside one of the database. 'flask orbro rotate-keys'.
ORBRO_ENCRYPTION_KEYS = ["{encryption_key}"]

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
        encryption_key=new_key(),
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


@orbro.command("new-key", with_appcontext=False)
def print_new_key() -> None:
    """Print a random key for ORBRO_ENCRYPTION_KEYS."""
    click.echo(new_key())


@orbro.command("descriptor")
@click.option(
    "--check", is_flag=True, help="Say what is wrong with it, and where the file is behind the code."
)
def descriptor(check: bool) -> None:
    """Print the app descriptor as it is served."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    try:
        document = served_descriptor(app)
    except DescriptorError as error:
        raise click.ClickException(str(error)) from None
    if not check:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    for sentence in file_drift(app):
        click.echo(f"Drift: {sentence}")
    found = faults(document)
    for fault in found:
        click.echo(f"Fault: {fault}")
    if found:
        raise click.ClickException(f"The descriptor has {len(found)} faults.")
    click.echo("The descriptor is valid.")


@orbro.command("sweep")
def sweep() -> None:
    """Ask the platform and handle deliveries, whatever is due, and erase what is past its retention."""
    sweep_inbox()
    state = get_state()
    due = state.sweep()
    waiting = state.claims.count()
    click.echo(f"{waiting} claims wait." + ("" if due is None else " More is due later."))


@orbro.command("upgrade-database")
def upgrade_database() -> None:
    """Make the tables, or bring the old SDK's up to date, where the app has no migrations of its own."""
    if "migrate" in current_app.extensions:
        raise click.ClickException(
            "This app has migrations of its own: 'flask db upgrade'. From the old SDK's table they come "
            "with flask_orbro.migrations.upgrade_from_sdk(op)."
        )
    state = get_state()
    try:
        with state.organizations.sessions() as session, session.begin():
            click.echo(make_tables(session.connection(), state.models))
    except ImportError:
        raise click.ClickException("Alembic is needed for this once: pip install alembic") from None


@orbro.command("erase")
@click.argument("organization_id")
def erase(organization_id: str) -> None:
    """Forget an organization at once, with all that is kept about it."""
    gone = {kind: count for kind, count in get_state().erasure.erase(organization_id).items() if count}
    if not gone:
        raise click.ClickException(f"Nothing is kept about {organization_id}.")
    for kind, count in gone.items():
        click.echo(f"{kind}: {count} erased")


@orbro.command("rotate-keys")
@click.option("--batch", default=500, show_default=True, type=click.IntRange(1, 100_000), help="Rows at once")
def rotate_keys(batch: int) -> None:
    """Encrypt every secret with the newest key. The app may run; stop and begin again at any time."""
    state = get_state()
    rotation, (newest, *others) = state.rotation, state.keys.ids
    used = rotation.by_key()
    total = sum(used.values()) - used[newest]
    click.echo(f"{total} secrets are to be encrypted with the key {newest}.")
    done = 0
    for count in rotation.run(batch):
        done += count
        click.echo(f"{done} of {total}")
    left = {key: rotation.rows_of(key) for key in rotation.by_key() if key != newest}
    if left:
        raise click.ClickException("\n".join(_left(rows, key, others) for key, rows in left.items()))
    if others:
        click.echo(f"Nothing needs {', '.join(others)} any more: take it out of ORBRO_ENCRYPTION_KEYS.")


def _left(rows: int, key: str, known: list[str]) -> str:
    if key in known or key == PLAIN:
        return f"{rows} rows hold a secret that was altered, or written for another row; see the log."
    return f"{rows} rows need the key {key}: add it as the last of ORBRO_ENCRYPTION_KEYS, and begin again."


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
                f"{record['claims_waiting']} claims waiting, last seen {record['last_seen'] or 'never'}"
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
    claim = _one_claim(state.lifecycle.waiting(organization_id), digest)
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
        yield _record(Organization(organization_id, State.PENDING), count)


def _record(organization: Organization, claims_waiting: int) -> dict[str, Any]:
    seen_at = organization.last_seen_at
    seen = None if seen_at is None else datetime.fromtimestamp(seen_at, UTC)
    return {
        "organization_id": organization.organization_id,
        "state": organization.state.value,
        "subdomain": organization.bound_subdomain,
        "claims_waiting": claims_waiting,
        "last_seen": None if seen is None else f"{seen:%Y-%m-%dT%H:%M:%SZ}",
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
