"""The tables that the migrations make are those that the models map, on each database."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from flask import Flask

import example_app.database
from example_app import create_app
from example_app.extensions import db
from flask_orbro import ConfigurationError
from flask_orbro.simulator import SimulatorServer

from .conftest import JWT_SECRET_KEY, PROJECT, open_app

OURS = {
    *("connect_app_client_info", "connect_app_claim", "connect_app_delivery"),
    *("users", "ended_sessions", "posts", "device_change"),
}
TABLES = {"alembic_version", *OURS}


def differences(app: Flask) -> list[Any]:
    with app.app_context(), db.engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": False}
        context = MigrationContext.configure(connection, opts=options)
        return list(compare_metadata(context, db.metadata))


def tables(app: Flask) -> set[str]:
    with app.app_context():
        return set(sa.inspect(db.engine).get_table_names())


def test_migrations_and_models_agree(uri: str, make_example: Callable[..., Flask]) -> None:
    app = make_example(SQLALCHEMY_DATABASE_URI=uri)
    assert tables(app) == TABLES
    assert differences(app) == []
    result = app.test_cli_runner().invoke(args=["db", "check"])
    assert result.exit_code == 0, result.output


def test_a_table_without_a_migration_would_be_noticed(make_example: Callable[..., Flask]) -> None:
    app = make_example()
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.text("drop table connect_app_claim"))
    assert differences(app)


def test_the_first_migration_can_be_undone(uri: str, make_example: Callable[..., Flask]) -> None:
    app = make_example(SQLALCHEMY_DATABASE_URI=uri)
    assert app.test_cli_runner().invoke(args=["db", "downgrade", "base"]).exit_code == 0
    assert tables(app) == {"alembic_version"}


def test_a_second_start_finds_nothing_to_do(make_example: Callable[..., Flask]) -> None:
    make_example()
    assert tables(make_example()) == TABLES


def test_production_waits_for_a_person_to_migrate_and_works_then(
    make_example: Callable[..., Flask],
    simulator: SimulatorServer,
    serving: Callable[[Flask], str],
) -> None:
    app = make_example(ORBRO_ENV="prod")
    assert tables(app) == set()
    result = app.test_cli_runner().invoke(args=["db", "upgrade"])
    assert result.exit_code == 0, result.output
    assert tables(app) == TABLES
    assert simulator.platform.install(serving(app), "acme").ok


def test_processes_that_start_at_once_do_not_collide(instance: Path, uri: str) -> None:
    code = (
        "import sys; from example_app import create_app; sys.stdin.readline(); "
        "create_app({'SQLALCHEMY_DATABASE_URI': sys.argv[1], 'ORBRO_CLIENT_ID': 'x', "
        "'ORBRO_CLIENT_SECRET': 'y' * 40, 'JWT_SECRET_KEY': 'z' * 40}, instance_path=sys.argv[2])"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, uri, str(instance)],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    config = {"ORBRO_CLIENT_ID": "x", "ORBRO_CLIENT_SECRET": "y" * 40, "JWT_SECRET_KEY": JWT_SECRET_KEY}
    with open_app(config | {"SQLALCHEMY_DATABASE_URI": uri}, instance_path=instance) as app:
        assert differences(app) == []


def test_migrations_leave_logging_as_it_was(make_example: Callable[..., Flask]) -> None:
    logger = logging.getLogger("somebody.else")
    handlers, level = list(logging.root.handlers), logging.root.level
    make_example()
    assert not logger.disabled
    assert (logging.root.handlers, logging.root.level) == (handlers, level)


def test_a_migration_that_fails_is_one_sentence(
    instance: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example_app.database, "PATIENCE", 0.1)
    with (
        open_app(settings, instance_path=instance) as app,
        app.app_context(),
        db.engine.begin() as connection,
    ):
        connection.execute(sa.text("update alembic_version set version_num = 'of-a-newer-app'"))
    with pytest.raises(ConfigurationError, match=r"The migrations of sqlite:.* failed: .*of-a-newer-app"):
        create_app(settings, instance_path=instance)
