"""``flask orbro init``, ``descriptor`` and ``upgrade-database``: before an app can run."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

import click
from flask import current_app
from flask.cli import ScriptInfo, with_appcontext

from ..api.descriptor import file_drift, served_descriptor
from ..config import INSTANCE_FILE
from ..crypto import new_key
from ..descriptor import base_url_fault, faults
from ..errors import ConfigurationError, DescriptorError
from ..migrations import make_tables
from ..state import OrbroState, get_state

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

# The app's public URL, in place of the baseUrl of connect.json.
# ORBRO_BASE_URL = "https://app.example"

# Only for calls with the Open API token of your own organization.
# ORBRO_OPEN_API_TOKEN = ""
"""


@click.command("init")
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


@click.command("descriptor")
@click.option(
    "--check", is_flag=True, help="Say what is wrong with it, and where the file is behind the code."
)
@click.pass_context
def descriptor(context: click.Context, check: bool) -> None:
    """Print the app descriptor as it is served."""
    try:
        app = context.ensure_object(ScriptInfo).load_app()
        document = served_descriptor(app)
    except DescriptorError as error:
        # The app does not start with such a file, and --check is there to say all that is wrong with it.
        for fault in getattr(error, "__notes__", ()) if check else ():
            click.echo(f"Fault: {fault}")
        raise
    if not check:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    for sentence in file_drift(app):
        click.echo(f"Drift: {sentence}")
    found = faults(document) + _unreachable(get_state(app))
    for fault in found:
        click.echo(f"Fault: {fault}")
    if found:
        raise click.ClickException(f"The descriptor has {len(found)} faults.")
    click.echo("The descriptor is valid.")


def _unreachable(state: OrbroState) -> list[str]:
    """On a developer's machine the platform is simulated there too."""
    fault = None if state.config.env == "dev" else base_url_fault(state.descriptor)
    return [] if fault is None else [fault]


@click.command("upgrade-database")
@with_appcontext
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
            done = make_tables(session.connection(), state.models)
    except ImportError:
        raise click.ClickException("Alembic is needed for this once: pip install alembic") from None
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from None
    click.echo(done)
