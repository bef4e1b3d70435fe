"""Runs migrations on the app's own engine.

Logging is left as the app has set it up: migrations run inside the app as well.
"""

from __future__ import annotations

from typing import Any

from alembic import context
from alembic.operations import MigrationScript
from flask import current_app

migrate = current_app.extensions["migrate"]
metadata = migrate.db.metadata


def leave_out_empty_revisions(_context: Any, _revision: Any, scripts: list[MigrationScript]) -> None:
    if getattr(context.config.cmd_opts, "autogenerate", False):
        operations = scripts[0].upgrade_ops
        if operations is not None and operations.is_empty():
            scripts.clear()


def run_offline() -> None:
    """Print the SQL: ``flask --app example_app db upgrade --sql``."""
    url = migrate.db.engine.url.render_as_string(hide_password=False)
    context.configure(url=url, target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    with migrate.db.engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            process_revision_directives=leave_out_empty_revisions,
            **migrate.configure_args,
        )
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
