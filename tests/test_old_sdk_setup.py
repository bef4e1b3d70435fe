"""A production set-up written for the platform's Python SDK, moved in the three steps that the README names:
the import and the app, a key for secrets at rest, and the table brought up to date.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from flask import Flask, jsonify
from sqlalchemy import create_engine, inspect, select
from sqlalchemy.orm import declarative_base, sessionmaker

from flask_orbro import (
    ConnectAppClientInfoMixin,
    OrbroConnect,
    current_delivery,
    current_identity,
    user_required,
    webhook_required,
)
from flask_orbro.cli import orbro as commands
from flask_orbro.simulator import SimulatorServer
from flask_orbro.simulator.models import Installation
from flask_orbro.state import get_state

from .conftest import CLIENT_ID, CLIENT_SECRET, DESCRIPTOR, ENCRYPTION_KEY, bearer, need_service
from .test_migrations import OLD_TABLE

Base = declarative_base()


class ClientInfo(Base, ConnectAppClientInfoMixin):  # type: ignore[misc, valid-type]
    pass


@pytest.fixture
def cache() -> Iterator[redis.StrictRedis]:
    client = redis.StrictRedis(host="127.0.0.1", port=6379, db=0, decode_responses=True)
    need_service("Redis", client.ping)
    before = set(client.scan_iter(match="orbro:*"))
    yield client
    for key in set(client.scan_iter(match="orbro:*")) - before:
        client.delete(key)
    client.close()


@pytest.fixture
def old(
    tmp_path: Path, simulator: SimulatorServer, cache: redis.StrictRedis, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Flask, OrbroConnect, Any]]:
    monkeypatch.setenv("ENV", "STG")  # where the old SDK looked, and as it took it
    (tmp_path / "connect.json").write_text(json.dumps(DESCRIPTOR))
    engine = create_engine(f"sqlite:///{tmp_path}/production.db")
    maker = sessionmaker(autocommit=False, autoflush=False, bind=engine)

    app = Flask(__name__, root_path=str(tmp_path), instance_path=str(tmp_path))
    app.config["ORBRO_ENCRYPTION_KEYS"] = ENCRYPTION_KEY
    # Only where the simulated platform is; a production set-up needs neither.
    app.config.update(ORBRO_PLATFORM_HOST=simulator.platform_host, ORBRO_PLATFORM_SCHEME="http")
    orbro = OrbroConnect(
        app,
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET + uuid.uuid4().hex,
        db_session_maker=maker,
        client_info_model=ClientInfo,
        redis=cache,
        open_api_token=simulator.platform.open_api_token(),
    )
    assert not inspect(engine).get_table_names()
    Base.metadata.create_all(bind=engine)

    @app.get("/me")
    @user_required
    def me() -> Any:
        users = orbro.client.get("/api/v1/users").raise_for_status().json()
        return jsonify(email=current_identity.email, users=users)

    @app.post("/webhook/device")
    @webhook_required
    def device() -> Any:
        return jsonify(current_delivery.payload)

    @app.get("/open")
    def through_the_open_api() -> Any:
        return jsonify(orbro.open_api_client.get("/api/v1/users").status_code)

    yield app, orbro, maker
    get_state(app).close()
    engine.dispose()


def test_it_installs_serves_users_and_takes_webhooks(
    old: tuple[Flask, OrbroConnect, Any],
    serving: Callable[[Flask], str],
    simulator: SimulatorServer,
    cache: redis.StrictRedis,
) -> None:
    app, orbro, maker = old
    url = serving(app)
    before = set(cache.scan_iter(match="orbro:*"))
    outcome = simulator.platform.install(url, "acme", client_id=CLIENT_ID)
    assert (outcome.status, outcome.body) == (200, {"status_code": 200, "detail": "success"})

    token = simulator.platform.user_token("acme")
    response = app.test_client().get("/me", headers=bearer(token) | {"sub": "acme"})
    assert response.status_code == 200, response.text
    assert response.json["email"] == "admin@acme.example"
    assert response.json["users"]

    webhook = simulator.platform.webhook("acme", "device:device_updated", {"id": 7})
    assert (webhook.status, webhook.body["data"]) == (200, {"id": 7})
    assert app.test_client().get("/open").json == 200

    organization_id = simulator.platform.organization("acme").id
    with maker() as session:
        row = session.scalars(select(ClientInfo)).one()
        assert (row.organization_id, row.subdomain, row.state) == (organization_id, "acme", "active")
        assert row.created_time is not None
    with app.app_context():
        assert orbro.client_for(organization_id).get("/api/v1/users").status_code == 200

    kept = set(cache.scan_iter(match="orbro:*")) - before
    assert kept
    shown = " ".join(key + str(cache.get(key)) for key in kept)
    for secret in (token, organization_id, simulator.platform.installation("acme", url).shared_secret):
        assert secret not in shown


def test_it_is_uninstalled_and_its_claims_have_a_table(
    old: tuple[Flask, OrbroConnect, Any], serving: Callable[[Flask], str], simulator: SimulatorServer
) -> None:
    app, _orbro, maker = old
    url = serving(app)
    tables = inspect(maker.kw["bind"]).get_table_names()
    assert set(tables) >= {"connect_app_client_info", "connect_app_claim"}
    simulator.platform.install(url, "acme", client_id=CLIENT_ID)
    outcome = simulator.platform.uninstall(url, "acme")
    assert (outcome.status, outcome.body) == (200, None)
    headers = bearer(simulator.platform.user_token("acme")) | {"sub": "acme"}
    assert app.test_client().get("/me", headers=headers).status_code == 401


def test_the_environment_comes_from_where_the_old_sdk_looked(old: tuple[Flask, OrbroConnect, Any]) -> None:
    assert get_state(old[0]).config.env == "stg"


def test_what_the_old_sdk_has_kept_works_on_once_the_table_is_brought_up_to_date(
    old: tuple[Flask, OrbroConnect, Any], serving: Callable[[Flask], str], simulator: SimulatorServer
) -> None:
    app, _orbro, maker = old
    engine, organization = maker.kw["bind"], simulator.platform.organization("acme")
    # As the SDK 0.23 left it, and 'create_all' leaves alone.
    Base.metadata.drop_all(engine)
    table = sa.Table("connect_app_client_info", sa.MetaData(), *eval(f"({OLD_TABLE})", {"sa": sa}))
    table.create(engine)
    Base.metadata.create_all(engine)
    row = {"organization_id": organization.id, "shared_secret": "s" * 43, "subdomain": "acme"}
    with engine.begin() as connection:
        connection.execute(table.insert().values(row))
    known = Installation("long-ago", serving(app), organization.id, "somebody", "s" * 43, CLIENT_ID)
    simulator.platform.put_installation("acme", known)
    headers = bearer(simulator.platform.user_token("acme")) | {"sub": "acme"}
    assert app.test_client().get("/me", headers=headers).status_code == 503
    upgraded = app.test_cli_runner().invoke(commands, ["upgrade-database"])
    assert "the platform is asked about its rows" in upgraded.output
    assert app.test_client().get("/me", headers=headers).status_code == 200


def test_who_has_installed_it_is_asked_by_the_old_name(old: tuple[Flask, OrbroConnect, Any]) -> None:
    app, orbro, _maker = old
    with app.app_context():
        assert orbro.client_info_datastore is orbro.client_info_store
        orbro.client_info_datastore.add({"organization_id": "o1", "shared_secret": "s" * 43, "user_id": "u1"})
        orbro.client_info_datastore.commit()
        found = orbro.client_info_datastore.get_by_user_id("u1")
        assert found is not None
        assert found.organization_id == "o1"
