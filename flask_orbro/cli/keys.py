"""``flask orbro new-key`` and ``rotate-keys``: the keys that encrypt secrets at rest."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from ..crypto import new_key
from ..state import get_state
from ..stores.rotation import PLAIN


@click.command("new-key")
def print_new_key() -> None:
    """Print a random key for ORBRO_ENCRYPTION_KEYS."""
    click.echo(new_key())


@click.command("rotate-keys")
@click.option("--batch", default=500, show_default=True, type=click.IntRange(1, 100_000), help="Rows at once")
@with_appcontext
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
