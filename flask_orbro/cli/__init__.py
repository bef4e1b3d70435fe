"""``flask orbro …``: set up, try out and look after a Connect app."""

from __future__ import annotations

import time
from typing import Any

import click
from flask.cli import AppGroup

from ..errors import NotInitializedError, ProblemError
from ..simulator.cli import simulate, simulator
from ..state import get_state
from .connections import connections
from .deliveries import deliveries, sweep_inbox, worker
from .keys import print_new_key, rotate_keys
from .organizations import erase, organizations
from .setup import descriptor, init, upgrade_database


class Commands(AppGroup):
    """Ends with a sentence where a request would be answered with a problem document."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ProblemError as error:
            raise click.ClickException(str(error.__cause__ or error.detail)) from None
        except NotInitializedError as error:
            raise click.ClickException(str(error)) from None


orbro = Commands("orbro", help="Set up, try out and look after a Connect app.")
for command in (
    init,
    upgrade_database,
    descriptor,
    simulator,
    simulate,
    organizations,
    erase,
    print_new_key,
    rotate_keys,
    connections,
    deliveries,
    worker,
):
    orbro.add_command(command)


@orbro.command("sweep")
def sweep() -> None:
    """Ask the platform and handle deliveries, whatever is due, and erase what is past its retention."""
    sweep_inbox()
    state = get_state()
    began = time.time()
    # A round takes some of each kind; whatever it has taken is due later than now.
    while (due := state.sweep()) is not None and due <= began:
        pass
    waiting = state.claims.count()
    click.echo(f"{waiting} claims wait." + ("" if due is None else " More is due later."))
