"""Settings: where they come from, which wins, and what is said when one is missing or wrong."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from flask_orbro.config import SETTINGS, Config, settings_table
from flask_orbro.errors import ConfigurationError
from flask_orbro.settings import resolve

SECRET = "a-client-secret-nobody-may-see"
BOTH = {"ORBRO_CLIENT_ID": "me", "ORBRO_CLIENT_SECRET": SECRET}


def found(
    tmp_path: Path,
    config: dict[str, Any] | None = None,
    *,
    arguments: dict[str, Any] | None = None,
    environ: dict[str, str] | None = None,
    instance: str | None = None,
) -> Config:
    if instance is not None:
        (tmp_path / "application.cfg").write_text(instance)
    return resolve(arguments or {}, BOTH | (config or {}), tmp_path, environ or {})


def complaint(tmp_path: Path, config: dict[str, Any] | None = None, **more: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        found(tmp_path, config, **more)
    shown = "".join(traceback.format_exception(caught.value))
    assert SECRET not in shown
    return str(caught.value)


def test_only_the_client_id_and_secret_are_required(tmp_path: Path) -> None:
    config = found(tmp_path)
    assert (config.client_id, config.client_secret) == ("me", SECRET)
    for key, default, _unit, _meaning in settings_table():
        name = key.removeprefix("ORBRO_").lower()
        if name not in ("client_id", "client_secret", "platform_host"):
            assert getattr(config, name) == default, key


def test_every_setting_is_explained() -> None:
    for key, default, unit, meaning in settings_table():
        assert key.startswith("ORBRO_")
        assert meaning.endswith("."), key
        assert not isinstance(default, float) or unit, key


def test_an_argument_wins_over_app_config_which_wins_over_the_instance_file(tmp_path: Path) -> None:
    file = 'ORBRO_CLIENT_ID = "file"\nORBRO_DESCRIPTOR = "file.json"\nORBRO_OPEN_API_TOKEN = "file-token"\n'
    config = {"ORBRO_CLIENT_ID": "config", "ORBRO_DESCRIPTOR": "config.json"}
    resolved = found(tmp_path, config, arguments={"client_id": "argument"}, instance=file)
    assert resolved.client_id == "argument"
    assert resolved.descriptor == "config.json"
    assert resolved.open_api_token == "file-token"


def test_none_and_empty_text_mean_not_given(tmp_path: Path) -> None:
    for nothing in (None, ""):
        resolved = found(
            tmp_path,
            {"ORBRO_OPEN_API_TOKEN": nothing},
            arguments={"client_id": nothing},
            instance='ORBRO_OPEN_API_TOKEN = "t"',
        )
        assert (resolved.client_id, resolved.open_api_token) == ("me", "t")


@pytest.mark.parametrize("key", list(BOTH))
def test_a_missing_required_key_is_named_with_every_place_and_the_remedy(tmp_path: Path, key: str) -> None:
    said = complaint(tmp_path, {key: None})
    for word in (key, "arguments", "app.config", str(tmp_path / "application.cfg"), "flask orbro init"):
        assert word in said


def test_the_hosts_of_the_environments(tmp_path: Path) -> None:
    for env, host in (("dev", "kongmeta.dev"), ("stg", "kongmeta.kr"), ("prod", "orbro.io")):
        assert found(tmp_path, {"ORBRO_ENV": env}).platform_host == host
    other = found(tmp_path, {"ORBRO_PLATFORM_HOST": "Other.Example:8443"})
    assert other.platform_host == "other.example:8443"


def test_the_environment_comes_from_the_first_that_names_one(tmp_path: Path) -> None:
    names: dict[str, str] = {}
    assert found(tmp_path, environ=names).env == "dev"
    for name, env in (("ENV", "stg"), ("SERVICE_ENV", "prod"), ("ORBRO_ENV", "stg")):
        names[name] = env
        assert found(tmp_path, environ=names).env == env
    assert found(tmp_path, {"ORBRO_ENV": "prod"}, environ=names).env == "prod"
    argument = {"env": "dev"}
    assert found(tmp_path, {"ORBRO_ENV": "prod"}, environ=names, arguments=argument).env == "dev"
    assert found(tmp_path, environ={"ENV": "", "SERVICE_ENV": "stg"}).env == "stg"


def test_an_environment_may_be_written_in_capitals_as_the_old_sdk_took_it(tmp_path: Path) -> None:
    assert found(tmp_path, environ={"ENV": "PROD"}).platform_host == "orbro.io"
    assert found(tmp_path, arguments={"env": "Stg"}).env == "stg"


@pytest.mark.parametrize("name", ["ORBRO_ENV", "SERVICE_ENV", "ENV"])
def test_an_unknown_environment_is_named_with_the_known_ones(tmp_path: Path, name: str) -> None:
    said = complaint(tmp_path, environ={name: "production"})
    for word in (name, "the environment", "dev", "stg", "prod", "production"):
        assert word in said


@pytest.mark.parametrize(
    ("written", "key"),
    [("0123", "CLIENT_ID"), ("12345", "CLIENT_ID"), ("1e5", "CLIENT_ID"), ("true", "CLIENT_ID"),
     ("12345678901234567890123", "CLIENT_SECRET"), ("1.50", "CLIENT_SECRET"), ("[1, 2]", "CLIENT_SECRET"),
     ('{"a": 1}', "CLIENT_SECRET"), ("-0", "OPEN_API_TOKEN"), ("1_000", "OPEN_API_TOKEN"),
     ("NaN", "CLIENT_ID"), ("Infinity", "CLIENT_ID"), ("false", "CLIENT_ID")],
)  # fmt: skip
def test_text_that_flasks_loader_turned_into_something_else_is_the_text_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, key: str
) -> None:
    monkeypatch.setenv(f"FLASK_ORBRO_{key}", written)
    app = Flask("loader", instance_path=str(tmp_path))
    app.config.update(BOTH)
    app.config.from_prefixed_env()
    resolved = resolve({}, app.config, tmp_path)
    assert getattr(resolved, key.lower()) == written


def test_a_number_in_code_is_the_text_of_it_and_one_in_the_instance_file_is_refused(tmp_path: Path) -> None:
    assert found(tmp_path, {"ORBRO_CLIENT_ID": 12345}).client_id == "12345"
    said = complaint(tmp_path, {"ORBRO_CLIENT_ID": None}, instance="ORBRO_CLIENT_ID = 12345")
    for word in ("ORBRO_CLIENT_ID", "application.cfg", "must be text, not int", "quotes"):
        assert word in said


def test_numbers_from_flasks_loader_stay_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_ORBRO_VERDICT_TTL", "0")
    monkeypatch.setenv("FLASK_ORBRO_POOL_SIZE", "7")
    monkeypatch.setenv("FLASK_ORBRO_SWEEPER", "false")
    monkeypatch.setenv("FLASK_ORBRO_METRICS", "True")
    monkeypatch.setenv("FLASK_ORBRO_WEBHOOK_REQUIRE_EXP", "False")
    app = Flask("loader", instance_path=str(tmp_path))
    app.config.update(BOTH)
    app.config.from_prefixed_env()
    resolved = resolve({}, app.config, tmp_path)
    assert (resolved.verdict_ttl, resolved.pool_size, resolved.sweeper) == (0, 7, False)
    assert (resolved.metrics, resolved.webhook_require_exp) == (True, False)


@pytest.mark.parametrize(
    ("key", "value"),
    [("VERDICT_TTL", "30"), ("VERDICT_TTL", -1), ("VERDICT_TTL", True), ("VERDICT_TTL", float("nan")),
     ("VERDICT_TTL", float("inf")), ("VERDICT_TTL", 10**400), ("POOL_SIZE", 1.5), ("POOL_SIZE", 0),
     ("SWEEPER", "yes"), ("SWEEPER", 1), ("INSTALL_PROOF", "nobody"), ("INSTALL_PROOF", []),
     ("PLATFORM_SCHEME", "HTTP"), ("ENV", "production"), ("DESCRIPTOR_URL", "connect.json"),
     ("DESCRIPTOR_URL", "//evil.example"), ("BASE_URL", "app.example"), ("BASE_URL", "ftp://a"),
     ("BASE_URL", "https://a?b"), ("BASE_URL", "https://me:word@a"), ("DESCRIPTOR_URL", "/<x>"),
     ("CLIENT_ID", "a\nb"), ("CLIENT_ID", " a"), ("CLIENT_ID", "é"),
     ("CLIENT_ID", b"bytes"), ("CLIENT_ID", "x" * 5000)],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_key_and_place(tmp_path: Path, key: str, value: Any) -> None:
    said = complaint(tmp_path, {f"ORBRO_{key}": value})
    assert f"ORBRO_{key} (from app.config)" in said
    assert "must" in said


@pytest.mark.parametrize(
    "host",
    ["https://orbro.io", "orbro.io/", "orbro.io/x", "user@orbro.io", "orbro.io:0", "orbro.io:65536",
     ".orbro.io", "orbro..io", "orbro.io.", "orbro io", "orbro.io:", "orbro.io:x", "[::1]", "orbro.io?x",
     "orbro_io", "-"],
)  # fmt: skip
def test_a_platform_host_is_a_host_name_and_perhaps_a_port(tmp_path: Path, host: str) -> None:
    assert "ORBRO_PLATFORM_HOST" in complaint(tmp_path, {"ORBRO_PLATFORM_HOST": host})


@pytest.mark.parametrize("host", ["orbro.localhost:8001", "localhost", "a.b.localhost"])
def test_http_is_taken_for_names_of_loopback(tmp_path: Path, host: str) -> None:
    config = {"ORBRO_PLATFORM_HOST": host, "ORBRO_PLATFORM_SCHEME": "http"}
    assert found(tmp_path, config).platform_scheme == "http"


@pytest.mark.parametrize(
    "host",
    ["orbro.io", "localhost.evil.example", "notlocalhost", "127.0.0.1.nip.io", "10.0.0.1", "127.0.0.1"],
)
def test_http_is_refused_for_anything_else(tmp_path: Path, host: str) -> None:
    said = complaint(tmp_path, {"ORBRO_PLATFORM_HOST": host, "ORBRO_PLATFORM_SCHEME": "http"})
    for word in ("ORBRO_PLATFORM_SCHEME", host, "loopback", "https"):
        assert word in said


def test_a_key_that_is_no_setting_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    assert "ORBRO_CLIENTID (from app.config)" in complaint(tmp_path, {"ORBRO_CLIENTID": SECRET})
    said = complaint(tmp_path, instance=f'ORBRO_SECRET = "{SECRET}"')
    assert "ORBRO_SECRET" in said
    assert "application.cfg" in said


def test_a_wrong_secret_is_never_shown(tmp_path: Path) -> None:
    secret = [key for key, item in SETTINGS.items() if item.metadata["secret"]]
    assert {"ORBRO_CLIENT_SECRET", "ORBRO_ENCRYPTION_KEYS"} < set(secret)
    for key in secret:
        for wrong in (
            SECRET + "\n",
            " " + SECRET,
            SECRET + "é",
            SECRET.encode(),
            [SECRET + "!"],
            {"x": SECRET},
        ):
            assert f"{key} (from app.config) must " in complaint(tmp_path, {key: wrong})


def test_no_secret_shows_in_the_repr(tmp_path: Path) -> None:
    config = found(
        tmp_path, {"ORBRO_OPEN_API_TOKEN": "open-" + SECRET, "ORBRO_REDIS_URL": "redis://:pw@localhost"}
    )
    assert SECRET not in repr(config)
    assert ":pw@" not in repr(config)


@pytest.mark.parametrize(
    "content", ["ORBRO_CLIENT_ID = \n", f'x = ("{SECRET}"', f"raise ValueError('{SECRET}')"]
)
def test_a_broken_instance_file_is_named_without_its_content(tmp_path: Path, content: str) -> None:
    said = complaint(tmp_path, instance=content)
    assert str(tmp_path / "application.cfg") in said
    assert "not valid" in said


def test_an_inbox_keeps_what_it_knows_duplicates_by(tmp_path: Path) -> None:
    said = complaint(tmp_path, {"ORBRO_INBOX_MAX_AGE": 3600})
    assert "ORBRO_INBOX_MAX_AGE (3600 s) must not be shorter than ORBRO_WEBHOOK_DUPLICATE_WINDOW" in said
    for window in (0, 3600):
        found(tmp_path, {"ORBRO_INBOX_MAX_AGE": 3600, "ORBRO_WEBHOOK_DUPLICATE_WINDOW": window})


@given(
    st.sampled_from([key for key, *_ in settings_table()]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.integers()),
)
def test_any_value_of_any_setting_is_taken_or_refused_by_name(key: str, value: Any) -> None:
    said = key
    try:
        resolve({}, BOTH | {key: value}, "/nowhere", {})
    except ConfigurationError as error:
        said = str(error)
    assert key in said
