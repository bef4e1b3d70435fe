"""One state per app: what init_app does, does not do, and says when it is missing."""

from __future__ import annotations

import dataclasses
import gc
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

from flask_orbro import ConfigurationError, ConnectAppClientInfoMixin, NotInitializedError, OrbroConnect
from flask_orbro.simulator import SimulatorServer
from flask_orbro.state import get_state
from flask_orbro.storage import sqlite_file

from .conftest import CLIENT_ID, DESCRIPTOR
from .world import World

MakeApp = Callable[..., Flask]


def test_a_second_init_app_on_one_app_raises(make_app: MakeApp) -> None:
    orbro = OrbroConnect()
    app = make_app(orbro)
    for again in (orbro, OrbroConnect()):
        with pytest.raises(ConfigurationError, match="already initialised"):
            again.init_app(app)


def test_a_missing_init_app_explains_itself() -> None:
    app = Flask("bare")
    orbro = OrbroConnect()
    with pytest.raises(NotInitializedError, match="Did you forget to call 'init_app'"):
        orbro.client_for("o1", app=app)
    with app.app_context(), pytest.raises(NotInitializedError, match="Did you forget to call 'init_app'"):
        _ = orbro.open_api_client
    with pytest.raises(NotInitializedError, match="app context"):
        orbro.client_for("o1")


def test_a_failed_init_app_leaves_the_app_free_for_another(settings: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "connect.json").write_text(json.dumps(DESCRIPTOR))
    app = Flask("twice", root_path=str(tmp_path), instance_path=str(tmp_path))
    del settings["ORBRO_CLIENT_ID"]
    app.config.update(settings)
    with pytest.raises(ConfigurationError, match="ORBRO_CLIENT_ID"):
        OrbroConnect(app)
    OrbroConnect(app, client_id=CLIENT_ID)
    assert get_state(app).config.client_id == CLIENT_ID


def test_init_app_runs_no_sql_and_asks_nobody(
    make_app: MakeApp, simulator: SimulatorServer, started_threads: list[str]
) -> None:
    class Base(DeclarativeBase):
        pass

    class ClientInfo(Base, ConnectAppClientInfoMixin):
        pass

    connections: list[Any] = []
    engine = create_engine("sqlite://")
    event.listen(engine, "connect", lambda connection, _record: connections.append(connection))
    make_app(
        OrbroConnect(client_info_model=ClientInfo, db_session_maker=sessionmaker(engine)), ORBRO_SWEEPER=True
    )
    make_app(ORBRO_SWEEPER=True)
    assert not connections
    assert not started_threads
    assert not simulator.platform.requests


def test_a_closed_app_keeps_no_organization_and_no_thread(make_world: Callable[..., World]) -> None:
    world = make_world(ORBRO_ORGANIZATION_TTL=60)
    state = get_state(world.app)
    kept = weakref.ref(state.organization_cache.get(world.organization_id))  # type: ignore[type-var]
    letting_go = state.organization_cache._letting_go
    assert letting_go is not None
    state.close()
    gc.collect()
    letting_go.join(5)
    assert (kept(), letting_go.is_alive()) == (None, False)


def test_the_own_database_is_a_file_for_its_owner_alone_and_has_tables_when_they_are_needed(
    make_app: MakeApp,
) -> None:
    app = make_app()
    file = Path(app.instance_path, sqlite_file(CLIENT_ID))
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_size == 0
    assert get_state(app).organizations.get("o1") is None
    assert file.stat().st_size > 0


def test_an_instance_folder_that_cannot_be_written_is_told_at_start(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "connect.json").write_text(json.dumps(DESCRIPTOR))
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "instance", Path("/proc/instance")):
        app = Flask("unwritable", root_path=str(tmp_path), instance_path=str(folder))
        app.config.update(settings)
        with pytest.raises(ConfigurationError, match=f"The database {folder}/orbro-.* cannot be opened"):
            OrbroConnect(app)


def test_two_apps_of_one_package_have_different_organizations(
    settings: dict[str, Any], tmp_path: Path, simulator: SimulatorServer, serving: Callable[[Flask], str]
) -> None:
    (tmp_path / "connect.json").write_text(json.dumps(DESCRIPTOR))
    apps = []
    for client_id in ("one", "two"):
        app = Flask("package", root_path=str(tmp_path), instance_path=str(tmp_path))
        app.config.update(settings | {"ORBRO_CLIENT_ID": client_id})
        OrbroConnect(app)
        apps.append(app)
    simulator.platform.install(serving(apps[0]), "acme", client_id="one")
    organization_id = simulator.platform.organization("acme").id
    one, two = (get_state(app) for app in apps)
    assert one.organizations.get(organization_id).is_active
    assert two.organizations.get(organization_id) is None
    for state in (one, two):
        state.close()


def test_the_state_is_frozen(make_app: MakeApp) -> None:
    state = get_state(make_app())
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.config.client_id = "other"  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.config = state.config  # type: ignore[misc]


def test_one_extension_serves_two_apps_that_share_nothing(
    make_app: MakeApp, simulator: SimulatorServer, serving: Callable[[Flask], str]
) -> None:
    orbro = OrbroConnect()
    one = make_app(orbro, ORBRO_CLIENT_ID="one")
    two = make_app(orbro, ORBRO_CLIENT_ID="two")
    for field in dataclasses.fields(get_state(one)):
        mine, other = getattr(get_state(one), field.name), getattr(get_state(two), field.name)
        assert mine is not other, field.name
    simulator.platform.install(serving(one), "acme", client_id="one")
    organization_id = simulator.platform.organization("acme").id
    assert get_state(one).organizations.get(organization_id).is_active
    assert get_state(two).organizations.get(organization_id) is None
    assert orbro.client_for(organization_id, app=one).get("/api/v1/users").status_code == 200
    with pytest.raises(Exception, match="not installed"):
        orbro.client_for(organization_id, app=two)


def test_two_apps_may_have_one_model_one_after_the_other(settings: dict[str, Any], tmp_path: Path) -> None:
    class Base(DeclarativeBase):
        pass

    class ClientInfo(Base, ConnectAppClientInfoMixin):
        pass

    (tmp_path / "connect.json").write_text(json.dumps(DESCRIPTOR))

    def one_life() -> None:
        engine = create_engine("sqlite://")
        app = Flask("factory", root_path=str(tmp_path), instance_path=str(tmp_path))
        app.config.update(settings)
        OrbroConnect(app, client_info_model=ClientInfo, db_session_maker=sessionmaker(engine))
        Base.metadata.create_all(engine)
        assert get_state(app).claims.count() == 0
        get_state(app).close()
        engine.dispose()

    for _ in range(3):
        one_life()
        gc.collect()
    assert len(Base.metadata.tables) == 3


def test_the_extension_itself_keeps_no_app(make_app: MakeApp) -> None:
    orbro = OrbroConnect()
    before = dict(vars(orbro))
    make_app(orbro)
    assert vars(orbro) == before


def test_a_model_that_no_install_could_fill_is_refused_at_start(make_app: MakeApp) -> None:
    class Base(DeclarativeBase):
        pass

    class ClientInfo(Base, ConnectAppClientInfoMixin):
        tier: Mapped[str] = mapped_column(nullable=False)

    sessions = sessionmaker(create_engine("sqlite://"))
    with pytest.raises(ConfigurationError, match="ClientInfo needs a default for tier"):
        make_app(OrbroConnect(client_info_model=ClientInfo, db_session_maker=sessions))


def test_either_db_or_a_session_maker_is_given(make_app: MakeApp) -> None:
    with pytest.raises(ConfigurationError, match="not both"):
        make_app(OrbroConnect(db=object(), db_session_maker=sessionmaker()))


def test_a_wrong_redis_url_is_refused_without_showing_it(make_app: MakeApp) -> None:
    with pytest.raises(ConfigurationError, match="ORBRO_REDIS_URL") as caught:
        make_app(ORBRO_REDIS_URL="http://:password@localhost")
    assert "password" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value", "word"),
    [("ORBRO_INSTALL_PROOF", "none", "ORBRO_INSTALL_PROOF"),
     ("ORBRO_WEBHOOK_REQUIRE_EXP", False, "ORBRO_WEBHOOK_REQUIRE_EXP"),
     ("ORBRO_WORKER", "inline", "ORBRO_WORKER is 'inline'")],
)  # fmt: skip
def test_a_relaxation_is_warned_of_outside_dev(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, setting: str, value: Any, word: str
) -> None:
    make_app(**{setting: value})
    assert word not in caplog.text
    make_app(**{setting: value, "ORBRO_ENV": "prod"})
    assert word in caplog.text
