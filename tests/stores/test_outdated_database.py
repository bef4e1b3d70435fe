"""A database that nobody has brought up to date: said at once and exactly, not tried again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, jsonify
from flask_restx import Api, Resource
from sqlalchemy.orm import DeclarativeBase, sessionmaker

from flask_orbro import ConnectAppClientInfoMixin, OrbroConnect, user_required
from flask_orbro.cli import orbro as commands
from flask_orbro.simulator import SimulatorServer
from flask_orbro.state import get_state

from ..conftest import bearer
from ..databases import engine_fixture  # noqa: F401
from ..test_migrations import OLD_TABLE
from ..world import is_problem

REMEDY = "Run 'flask orbro upgrade-database'"
#: Commands that begin with looking into the inbox.
READING = [
    ["deliveries"],
    ["deliveries", "show", "1"],
    ["deliveries", "redeliver", "1"],
    ["deliveries", "redeliver", "--all-dead"],
]


@pytest.fixture
def app(engine: sa.Engine, make_app: Callable[..., Flask]) -> Flask:
    """An app with a model of its own, and a view of each kind; nobody has made its tables."""

    class Base(DeclarativeBase):
        pass

    class ClientInfo(Base, ConnectAppClientInfoMixin):
        pass

    orbro = OrbroConnect(client_info_model=ClientInfo, db_session_maker=sessionmaker(engine))
    app = make_app(orbro)
    api = Api(app)
    orbro.init_api(api)

    @api.route("/resource")
    class Me(Resource):  # type: ignore[misc]
        @user_required
        def get(self) -> dict[str, str]:
            return {}

    @app.get("/view")
    @user_required
    def view() -> Any:
        return jsonify()

    @app.get("/async")
    @user_required
    async def async_view() -> Any:
        return jsonify()

    return app


def make_old_table(engine: sa.Engine) -> None:
    table = sa.Table("connect_app_client_info", sa.MetaData(), *eval(f"({OLD_TABLE})", {"sa": sa}))
    table.create(engine)


@pytest.mark.parametrize("testing", [True, False])
@pytest.mark.parametrize("is_old", [True, False])
def test_every_request_is_answered_at_once_and_the_log_names_the_command(
    app: Flask,
    engine: sa.Engine,
    simulator: SimulatorServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    is_old: bool,
    testing: bool,
) -> None:
    if is_old:
        make_old_table(engine)
    naps: list[float] = []
    monkeypatch.setattr(time, "sleep", naps.append)
    app.testing = testing
    client = app.test_client()
    headers = bearer(simulator.platform.user_token("acme")) | {"sub": "acme"}
    answers = [client.get(path, headers=headers) for path in ("/resource", "/view", "/async")]
    body = {"organization_id": "o", "shared_secret": "s" * 40, "subdomain": "acme"}
    answers.append(client.post("/installed", json=body))
    for answer in answers:
        assert is_problem(answer, 503)["code"] == "database_outdated"
        assert "orbro" not in answer.text
    assert naps == []
    assert caplog.text.count(REMEDY) >= len(answers)


@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_a_command_that_looks_into_the_inbox_ends_with_the_remedy(app: Flask, command: list[str]) -> None:
    refused = app.test_cli_runner().invoke(commands, command)
    assert refused.exit_code == 1
    assert REMEDY in refused.output.splitlines()[-1]
    assert "Traceback" not in refused.output


def test_a_command_ends_with_the_remedy_which_mends_it(
    app: Flask, engine: sa.Engine, simulator: SimulatorServer
) -> None:
    make_old_table(engine)
    run = app.test_cli_runner().invoke
    refused = run(commands, ["organizations"])
    assert refused.exit_code == 1
    assert REMEDY in refused.output
    assert "Traceback" not in refused.output
    assert run(commands, ["upgrade-database"]).exit_code == 0
    assert run(commands, ["organizations"]).exit_code == 0
    assert get_state(app).organizations.get("o") is None
