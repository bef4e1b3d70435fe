"""Definitions of connections: every fault is named with its path, all of them at once."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme
from flask import Flask

from flask_orbro import ConfigurationError, OrbroConnect
from flask_orbro.connections import Connection, ConnectionDefinition, Sources, read_definitions
from flask_orbro.connections.registry import KINDS
from flask_orbro.state import get_state

from ..conftest import DESCRIPTOR

SECRET = "s3cret-of-the-definition"
SOURCES = Sources(
    config={
        "KEY": SECRET,
        "SPACED": "a b",
        "NUMBER": 12345,
        "NUMBER_OF_SECONDS": 10,
        "FRACTION": 20.0,
        "EMPTY": "",
        "URL": f"https://u:{SECRET}@a.example",
    },
    env={"TOKEN": SECRET, "MANY": "9999", "HALF": "2.5", "FEW": "3"},
)
REFERENCE = {"config": "KEY"}
URL = "https://api.example.com/v1"
OAUTH = {
    "kind": "oauth2_client_credentials",
    "token_url": "https://login.example.com/token",
    "client_id": "app",
    "client_secret": REFERENCE,
}


def read(**definition: Any) -> ConnectionDefinition:
    return read_definitions({"weather": definition}, SOURCES, path="ORBRO_CONNECTIONS")["weather"]


def faults(**definition: Any) -> list[str]:
    """What is wrong with a definition, by path below it."""
    with pytest.raises(ConfigurationError) as raised:
        read(**definition)
    assert SECRET not in str(raised.value)
    prefix = "ORBRO_CONNECTIONS['weather']"
    lines = str(raised.value).splitlines()
    assert all(line.startswith(prefix) and line.endswith(".") for line in lines)
    return [line.removeprefix(prefix).lstrip(".") for line in lines]


def test_what_is_left_out_has_a_default() -> None:
    made = read(url=URL + "/")
    assert (made.url, made.kind, made.auth_kind) == (URL, "rest", "none")
    assert (made.timeout, made.retries, made.pool, made.verify, made.health) == (30, 2, 64, True, None)


@pytest.mark.parametrize(
    ("definition", "path", "words"),
    [
        ({}, "url", "is missing"),
        ({"url": 7}, "url", "must be text, not int"),
        ({"url": "api.example.com"}, "url", "must be a URL"),
        ({"url": "ftp://api.example.com"}, "url", "must be a URL"),
        ({"url": "https://"}, "url", "must be a URL"),
        ({"url": "https://a b.example"}, "url", "must be a URL"),
        ({"url": "https://."}, "url", "must be a URL"),
        ({"url": "https://a..example"}, "url", "must be a URL"),
        ({"url": f"https://{'a' * 64}.example"}, "url", "must be a URL"),
        ({"url": f"https://{'a.' * 127}example"}, "url", "must be a URL"),
        ({"url": URL, "health": "/v1/../admin"}, "health", "must be a path"),
        ({"url": "https:\\\\a.example"}, "url", "must be a URL"),
        ({"url": "https://a.example:99999"}, "url", "must be a URL"),
        ({"url": f"https://u:{SECRET}@a.example"}, "url", "no user name"),
        ({"url": "https://@a.example"}, "url", "no user name"),
        ({"url": {"config": "URL"}}, "url", "refers to URL, which will not do: it must have no user name"),
        ({"url": f"{URL}?key={SECRET}"}, "url", "must have no query"),
        ({"url": f"{URL}#top"}, "url", "must have no fragment"),
        ({"url": "http://api.example.com"}, "url", "must begin with https"),
        ({"url": "http://localhost.example.com"}, "url", "must begin with https"),
        ({"url": URL, "kind": "soap"}, "kind", "must be one of rest, fhir, entra-sidecar"),
        ({"url": URL, "kind": ["rest"]}, "kind", "must be one of"),
        ({"url": URL, "timeout": "30"}, "timeout", "must be a number"),
        ({"url": URL, "timeout": 0}, "timeout", "must be between"),
        ({"url": URL, "timeout": float("nan")}, "timeout", "must be between"),
        ({"url": URL, "retries": 1.5}, "retries", "must be a whole number"),
        ({"url": URL, "retries": 11}, "retries", "must be between"),
        ({"url": URL, "pool": 0}, "pool", "must be between"),
        ({"url": URL, "pool": True}, "pool", "must be a number"),
        ({"url": URL, "allow_http": "yes"}, "allow_http", "must be True or False"),
        ({"url": URL, "verify": "/nowhere/ca.pem"}, "verify", "No such file"),
        ({"url": URL, "verify": 1}, "verify", "must be text, not int"),
        ({"url": URL, "health": "https://evil.example"}, "health", "must be a path"),
        ({"url": URL, "health": "//evil.example"}, "health", "must be a path"),
        ({"url": URL, "headers": ["X-A"]}, "headers", "must be a mapping, not list"),
        ({"url": URL, "headers": {"X A": "b"}}, "headers", "'X A' is not the name of a header"),
        ({"url": URL, "headers": {7: "b"}}, "headers", "a key that is not text"),
        ({"url": URL, "headers": {"X-A": "b\r\nX-B: c"}}, "headers.X-A", "printable"),
        ({"url": URL, "headers": {"Authorization": REFERENCE}}, "headers.Authorization", "under 'auth'"),
        ({"url": URL, "headers": {"Host": "evil.example"}}, "headers.Host", "is not set here"),
        ({"url": URL, "headers": {"X-Api-Key": SECRET}}, "headers.X-Api-Key", "is a secret"),
        ({"url": URL, "colour": "red"}, "", "has an unknown key 'colour'"),
        ({"url": URL, "auth": "none"}, "auth", "must be a mapping, not str"),
        ({"url": URL, "auth": {"kind": "connect_app"}}, "", "unknown key 'url'"),
        ({"auth": {"kind": "connect_app", "organization_id": 7}}, "auth.organization_id", "must be text"),
        ({"url": URL, "timeout": {"config": "KEY"}}, "timeout", "which will not do: it must be a number"),
        ({"url": URL, "timeout": {"env": "MANY"}}, "timeout", "do: it must be between 0.05 and 600"),
        ({"url": URL, "pool": {"env": "HALF"}}, "pool", "do: it must be a whole number"),
        ({"url": URL, "kind": {"config": "KEY"}}, "kind", "refers to KEY, which will not do"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_path_and_never_a_secret(
    definition: dict[str, Any], path: str, words: str
) -> None:
    [fault] = faults(**definition)
    found, _, what = fault.partition(": ")
    assert (found, words in what) == (path, True), fault


@pytest.mark.parametrize(
    ("auth", "path", "words"),
    [
        ({}, ".kind", "is missing"),
        ({"kind": "digest"}, ".kind", "must be one of none, api_key"),
        ({"kind": "none", "key": REFERENCE}, "", "unknown key 'key'"),
        ({"kind": "api_key", "key": REFERENCE}, "", "either a 'header' or"),
        ({"kind": "api_key", "key": REFERENCE, "header": "X-A", "query": "a"}, "", "either a 'header' or"),
        ({"kind": "api_key", "key": SECRET, "query": "a"}, ".key", "is a secret"),
        ({"kind": "api_key", "key": REFERENCE, "header": "X A"}, ".header", "name of a header"),
        ({"kind": "api_key", "key": REFERENCE, "header": "Host"}, ".header", "name of a header"),
        ({"kind": "api_key", "key": REFERENCE, "header": "content-length"}, ".header", "name of a header"),
        ({"kind": "bearer", "token": {"config": "SPACED"}}, ".token", "SPACED, which will not do"),
        ({"kind": "bearer", "token": {"config": "NONE"}}, ".token", "NONE, which is missing"),
        ({"kind": "bearer", "token": {"config": "EMPTY"}}, ".token", "is missing"),
        ({"kind": "bearer", "token": {"env": "NONE"}}, ".token", "in the environment"),
        ({"kind": "bearer", "token": {"file": "/etc/passwd"}}, ".token", "a reference"),
        ({"kind": "bearer", "token": {"env": "TOKEN", "config": "KEY"}}, ".token", "a reference"),
        ({"kind": "bearer", "token": {"env": 7}}, ".token", "as text"),
        ({"kind": "bearer", "token": {}}, ".token", "a reference"),
        ({"kind": "basic", "username": "a:b", "password": REFERENCE}, ".username", "':'"),
        ({"kind": "basic", "username": "a", "password": SECRET}, ".password", "is a secret"),
        ({**OAUTH, "token_url": "/token"}, ".token_url", "must be a URL"),
        ({**OAUTH, "token_url": "http://a.example/t"}, ".token_url", "https"),
        ({**OAUTH, "client_secret": SECRET}, ".client_secret", "is a secret"),
        ({**OAUTH, "client_auth": "jwt"}, ".client_auth", "basic, post"),
        ({**OAUTH, "scopes": ['a"b']}, ".scopes", "must be scopes"),
        ({**OAUTH, "scopes": 7}, ".scopes", "must be scopes"),
        ({**OAUTH, "leeway": -1}, ".leeway", "must be between"),
        ({"kind": "forward", "issuers": []}, ".issuers", "must be issuers"),
        ({"kind": "forward", "issuers": [7]}, ".issuers", "must be text"),
        ({"kind": "forward", "opaque": "yes"}, ".opaque", "must be True or False"),
        ({"kind": "forward", "opaque": True, "issuers": [URL]}, "", "names 'issuers' or 'opaque'"),
    ],
)
def test_a_fault_of_the_login_is_named_likewise(auth: dict[str, Any], path: str, words: str) -> None:
    [fault] = faults(url=URL, auth=auth)
    found, _, what = fault.partition(": ")
    assert (found, words in what) == ("auth" + path, True), fault


def test_all_faults_are_named_at_once() -> None:
    found = faults(
        url="http://api.example.com",
        kind="soap",
        retries=-1,
        auth={**OAUTH, "client_secret": SECRET, "token_url": None},
        headers={"X-Token": SECRET},
    )
    assert [fault.partition(":")[0] for fault in found] == [
        "kind", "auth.token_url", "auth.client_secret", "url", "retries", "headers.X-Token",
    ]  # fmt: skip


@pytest.mark.parametrize("documents", [[], "weather", 7])
def test_the_setting_is_a_mapping(make_app: Callable[..., Flask], documents: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"ORBRO_CONNECTIONS .* must be a mapping"):
        make_app(ORBRO_CONNECTIONS=documents)


@pytest.mark.parametrize("name", ["", "a b", "../a", "a" * 65, 7, "wétter"])
def test_a_name_is_plain(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="is not a name"):
        read_definitions({name: {"url": URL}}, SOURCES, path="ORBRO_CONNECTIONS")


def test_a_definition_is_a_mapping() -> None:
    with pytest.raises(ConfigurationError, match=r"\['weather'\]: must be a mapping, not str"):
        read_definitions({"weather": URL}, SOURCES, path="ORBRO_CONNECTIONS")


def test_references_lead_to_the_configuration_and_the_environment() -> None:
    made = read(
        url=URL,
        auth={"kind": "api_key", "key": {"config": "NUMBER"}, "header": "X-Api-Key"},
        headers={"X-Secret": {"env": "TOKEN"}, "X-Plain": "plain"},
    )
    assert getattr(made.auth, "key") == "12345"  # noqa: B009 - of one kind alone
    assert made.headers == {"X-Secret": SECRET, "X-Plain": "plain"}


def test_a_number_may_be_written_as_text_where_it_is_referred_to() -> None:
    made = read(
        url=URL,
        timeout={"config": "NUMBER_OF_SECONDS"},
        retries={"env": "FEW"},
        pool={"config": "FRACTION"},
        auth={**OAUTH, "leeway": {"env": "HALF"}},
    )
    assert (made.timeout, made.retries, made.pool) == (10, 3, 20)
    assert (type(made.retries), type(made.pool)) == (int, int)
    assert getattr(made.auth, "leeway") == 2.5  # noqa: B009


@pytest.mark.parametrize("own", KINDS)
@pytest.mark.parametrize("form", [0, 1], ids=["sync", "async"])
def test_a_class_makes_connections_of_its_own_kind(own: str, form: int) -> None:
    made: Any = KINDS[own][form]

    def make(**definition: Any) -> Any:
        return made(URL, **definition) if own == "entra-sidecar" else made("x", {"url": URL, **definition})

    assert make()._parts.definition.kind == make(kind=own)._parts.definition.kind == own
    for other, classes in KINDS.items():
        if other != own:
            with pytest.raises(
                ConfigurationError, match=f"'{other}', which is made with {classes[0].__name__}"
            ):
                make(kind=other)


def test_the_sidecar_is_found_by_the_environment() -> None:
    sources = Sources(env={"SIDECAR_URL": "http://localhost:5178"})
    made = read_definitions({"graph": {"kind": "entra-sidecar"}}, sources, path="ORBRO_CONNECTIONS")["graph"]
    assert (made.url, made.health) == ("http://localhost:5178", "/healthz")
    with pytest.raises(ConfigurationError, match=r"\['graph'\].url: refers to SIDECAR_URL, which is missing"):
        read_definitions({"graph": {"kind": "entra-sidecar"}}, Sources(env={}), path="ORBRO_CONNECTIONS")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "http://localhost/v1", "http://notes.localhost", "http://[::1]:80"]
)
def test_http_is_for_this_machine(url: str) -> None:
    assert read(url=url).relaxations == []


def test_relaxations_are_told() -> None:
    relaxed = read(
        url="http://api.example.com",
        allow_http=True,
        verify=False,
        auth={**OAUTH, "token_url": "http://login.example.com/token"},
    )
    assert [fault.partition(" ")[0] for fault in relaxed.relaxations] == ["url", "auth.token_url", "verify"]


@pytest.mark.parametrize(("env", "warned"), [("dev", False), ("prod", True)])
def test_a_relaxation_warns_outside_dev(
    make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture, env: str, warned: bool
) -> None:
    with caplog.at_level(logging.WARNING, logger="flask_orbro"):
        make_app(ORBRO_ENV=env, ORBRO_CONNECTIONS={"weather": {"url": URL, "verify": False}})
    assert ("The connection 'weather': verify is off" in caplog.text) == warned


def test_certificate_authorities_are_read_at_once(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(bundle)
    assert read(url=URL, verify=str(bundle)).verify == str(bundle)
    bundle.write_text("no certificate")
    [fault] = faults(url=URL, verify=str(bundle))
    assert re.match(r"verify: must be True, False, or a file .*: \w+", fault)


def test_no_secret_is_shown_by_repr() -> None:
    for auth in (
        {"kind": "api_key", "key": REFERENCE, "header": "X-Api-Key"},
        {"kind": "basic", "username": "a", "password": REFERENCE},
        {"kind": "bearer", "token": REFERENCE},
        OAUTH,
    ):
        assert SECRET not in repr(read(url=URL, auth=auth, headers={"X-Token": REFERENCE}))
    connection = Connection("weather", {"url": URL, "auth": OAUTH}, config={"KEY": SECRET})
    assert SECRET not in repr(connection) + repr(vars(connection))


@pytest.mark.parametrize("where", ["application.cfg", "app.config", "environment"])
def test_an_app_finds_its_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str) -> None:
    reference = {"env": "WEATHER_KEY"} if where == "environment" else {"config": "WEATHER_KEY"}
    definition = {"url": URL, "auth": {"kind": "bearer", "token": reference}}
    (tmp_path / "connect.json").write_text(json.dumps(DESCRIPTOR))

    def init_app() -> None:
        app = Flask("app", root_path=str(tmp_path), instance_path=str(tmp_path))
        app.config.update(
            ORBRO_CLIENT_ID="a", ORBRO_CLIENT_SECRET="b", ORBRO_CONNECTIONS={"weather": definition}
        )
        if where == "app.config":
            app.config.update(given)
        orbro = OrbroConnect(app)
        with app.app_context():
            assert repr(orbro.connections["weather"]) == f"<Connection weather {URL}>"
        get_state(app).close()

    given: dict[str, str] = {}
    with pytest.raises(ConfigurationError, match=r"ORBRO_CONNECTIONS\['weather'\].auth.token: .*WEATHER_KEY"):
        init_app()
    if where == "environment":
        monkeypatch.setenv("WEATHER_KEY", SECRET)
    elif where == "app.config":
        given["WEATHER_KEY"] = SECRET
    else:
        (tmp_path / "application.cfg").write_text(f"WEATHER_KEY = {SECRET!r}\n")
    init_app()


def test_a_changed_definition_has_another_fingerprint() -> None:
    prints = {
        read(url=url, auth={**OAUTH, **auth}).fingerprint
        for url in (URL, URL + "/x")
        for auth in ({}, {"scopes": "a"}, {"client_id": "b"}, {"client_secret": {"config": "NUMBER"}})
    }
    assert len(prints) == 8
    assert read(url=URL, auth=OAUTH).fingerprint == read(auth=OAUTH, url=URL).fingerprint


def test_an_unknown_connection_is_named_with_those_there_are(make_app: Callable[..., Flask]) -> None:
    orbro = OrbroConnect()
    app = make_app(orbro, ORBRO_CONNECTIONS={"weather": {"url": URL}, "notes": {"url": URL}})
    with app.app_context():
        with pytest.raises(KeyError, match="no connection 'wether'; there are: weather, notes"):
            _ = orbro.connections["wether"]
        assert list(orbro.connections) == list(orbro.async_connections) == ["weather", "notes"]
        assert "weather" in orbro.connections
        assert orbro.connections.get("wether") is None
