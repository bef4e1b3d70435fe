"""``flask orbro organizations`` and ``erase``: who has installed the app, and the operator's word on it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click
from flask.cli import with_appcontext

from ..installation import Claim, Organization, State
from ..protocol import subdomain_label
from ..state import get_state


@click.group("organizations", invoke_without_command=True)
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
    stored = state.organizations.get(organization_id)
    if not (subdomain or claim.subdomain or (stored and stored.subdomain)):
        raise click.ClickException(
            "This install names no subdomain, and no user gets in without: give --subdomain."
        )
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


@click.command("erase")
@click.argument("organization_id")
@with_appcontext
def erase(organization_id: str) -> None:
    """Forget an organization at once, with all that is kept about it."""
    gone = {kind: count for kind, count in get_state().erasure.erase(organization_id).items() if count}
    if not gone:
        raise click.ClickException(f"Nothing is kept about {organization_id}.")
    for kind, count in gone.items():
        click.echo(f"{kind}: {count} erased")
