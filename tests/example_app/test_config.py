"""Where the settings come from, and what is said when they are wrong."""

from __future__ import annotations

import base64
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner

from example_app import create_app
from example_app.sessions.tokens import _can_be_guessed
from flask_orbro import ConfigurationError
from flask_orbro.cli import orbro
from flask_orbro.state import get_state

from ..conftest import ENCRYPTION_KEY
from .conftest import JWT_SECRET_KEY, PROJECT, open_app
from .people import log_in

SECRETS = {
    "ORBRO_CLIENT_ID": "client",
    "ORBRO_CLIENT_SECRET": "secret-0123456789-0123456789-0123456789",
    "ORBRO_ENCRYPTION_KEYS": [ENCRYPTION_KEY],
    "JWT_SECRET_KEY": JWT_SECRET_KEY,
}
MEMORY = SECRETS | {"SQLALCHEMY_DATABASE_URI": "sqlite://"}


def write_settings(instance: Path, **settings: Any) -> None:
    lines = (f"{name} = {value!r}" for name, value in settings.items())
    (instance / "application.cfg").write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("variable", "migrates"),
    [(None, True), ("dev", True), ("stg", False), ("prod", False), ("PROD", False)],
)
def test_orbro_env_chooses_the_environment(
    instance: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None, migrates: bool
) -> None:
    if variable:
        monkeypatch.setenv("ORBRO_ENV", variable)
    with open_app(MEMORY, instance_path=instance) as app:
        assert app.config["MIGRATE_ON_START"] is migrates
        assert not app.testing
        assert not app.debug
        assert get_state(app).config.env == (variable or "dev").lower()


@pytest.mark.parametrize(("variable", "env"), [(None, "prod"), ("stg", "stg"), ("dev", "dev")])
def test_production_by_name_is_the_platform_s_production_unless_another_is_named(
    instance: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None, env: str
) -> None:
    write_settings(instance, **MEMORY)
    if variable:
        monkeypatch.setenv("SERVICE_ENV", variable)
    with open_app("production", instance_path=instance) as app:
        assert get_state(app).config.env == env
        assert app.config["MIGRATE_ON_START"] is False


def test_the_environment_of_the_instance_file_counts_for_app_and_extension_alike(instance: Path) -> None:
    write_settings(instance, **MEMORY, ORBRO_ENV="prod")
    with open_app(instance_path=instance) as app:
        assert app.config["MIGRATE_ON_START"] is False
        assert get_state(app).config.platform_host == "orbro.io"


def test_each_place_wins_over_the_one_before(instance: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_settings(
        instance, **MEMORY, ORBRO_PLATFORM_HOST="file.example", ORBRO_POOL_SIZE=7, ORBRO_MAX_BODY=2048
    )
    monkeypatch.setenv("FLASK_ORBRO_PLATFORM_HOST", "environment.example")
    monkeypatch.setenv("FLASK_ORBRO_MAX_BODY", "4096")
    monkeypatch.setenv("FLASK_ORBRO_CLIENT_ID", "12345")
    with open_app({"ORBRO_MAX_BODY": 8192}, instance_path=instance) as app:
        config = get_state(app).config
    assert (config.pool_size, config.platform_host, config.max_body) == (7, "environment.example", 8192)
    assert config.client_id == "12345"


def test_an_object_overrides_too(instance: Path) -> None:
    class Overrides:
        ORBRO_CLIENT_ID = "from an object"
        ORBRO_CLIENT_SECRET = SECRETS["ORBRO_CLIENT_SECRET"]
        JWT_SECRET_KEY = JWT_SECRET_KEY
        SQLALCHEMY_DATABASE_URI = "sqlite://"

    with open_app(Overrides, instance_path=instance) as app:
        assert get_state(app).config.client_id == "from an object"


def test_the_testing_environment_needs_nothing_and_keeps_away_from_the_developer_s_database(
    instance: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_settings(instance, SQLALCHEMY_DATABASE_URI="sqlite:///precious.sqlite")
    monkeypatch.setenv("FLASK_SQLALCHEMY_DATABASE_URI", "sqlite:///precious.sqlite")
    with open_app("testing", instance_path=instance) as app:
        assert app.testing
        assert app.test_client().get("/healthz").status_code == 200
    assert not (instance / "precious.sqlite").exists()


@pytest.mark.parametrize("place", ["file", "environment"])
def test_the_testing_environment_keeps_away_from_the_developer_s_redis(
    instance: Path, monkeypatch: pytest.MonkeyPatch, redis_settings: dict[str, str], place: str
) -> None:
    named = redis_settings | {
        "CACHE_TYPE": "RedisCache",
        "ATTEMPTS_STORAGE": redis_settings["ORBRO_REDIS_URL"],
    }
    if place == "file":
        write_settings(instance, **named)
    else:
        for name, value in named.items():
            monkeypatch.setenv(f"FLASK_{name}", value)
    with (
        redis.Redis.from_url(redis_settings["ORBRO_REDIS_URL"]) as client,
        open_app("testing", instance_path=instance) as app,
    ):
        assert get_state(app).config.redis_url == "memory://"
        assert log_in(app.test_client()).status_code == 401
        assert app.test_client().get("/posts").status_code == 200
        keys = f"*{redis_settings['CACHE_KEY_PREFIX']}*"
        assert client.keys(keys) == []
        if place == "file":
            with open_app(MEMORY, instance_path=instance) as app:
                assert app.test_client().get("/posts").status_code == 200
            assert client.keys(keys)


def test_redis_is_shared_where_the_environment_is_named_too(
    instance: Path, redis_settings: dict[str, str]
) -> None:
    write_settings(instance, **SECRETS, **redis_settings, ATTEMPTS_STORAGE="memory://")
    with open_app("development", instance_path=instance) as app:
        assert app.config["CACHE_TYPE"] == "RedisCache"
        assert app.config["ATTEMPTS_STORAGE"] == "memory://"


def test_an_unknown_environment_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"'staging'.*development, testing, production"):
        create_app("staging")


def test_by_default_the_instance_folder_is_the_project_s() -> None:
    with open_app("testing") as app:
        assert Path(app.instance_path) == PROJECT / "instance"


def test_missing_secrets_are_named_with_the_remedy(instance: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"ORBRO_CLIENT_ID is missing.*flask orbro init"):
        create_app(instance_path=instance)


@pytest.mark.parametrize("key", [None, "", b"x" * 40, 5])
def test_without_a_key_for_its_tokens_nothing_starts(instance: Path, key: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"JWT_SECRET_KEY is missing.*flask orbro init"):
        create_app(MEMORY | {"JWT_SECRET_KEY": key}, instance_path=instance)


@pytest.mark.parametrize(
    "key",
    [
        "short-" + "0a1b2c3d4e5f",
        "x" * 64,
        "0123456789" * 4 + "-change-me",
        "super-secret-super-secret-super-secret",
        "An Example Key, Which Everybody Can Read",
        "abcdefghijklmnopqrstuvwxyz0123456789",
        "zyxwvutsrqponmlkjihgfedcba9876543210",
        "12345678901234567890123456789012345678",
        "qwertyuiopasdfghjklzxcvbnm123456",
        "development-key-development-key-0",
        "your-jwt-signing-key-goes-here-ok",
        "todo-replace-this-with-a-random-key",
        " " * 22 + "1f3a9c5b7d2e",
        "1f3a9c5b7d2e" * 3,
    ],
)
def test_a_key_that_can_be_guessed_is_refused_in_production_and_warned_about_elsewhere(
    instance: Path, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = MEMORY | {"JWT_SECRET_KEY": key}
    with pytest.raises(ConfigurationError, match="JWT_SECRET_KEY can be guessed") as caught:
        create_app(settings | {"ORBRO_ENV": "prod"}, instance_path=instance)
    assert key not in str(caught.value)
    with open_app(settings, instance_path=instance):
        pass
    assert "JWT_SECRET_KEY can be guessed" in caplog.text
    assert key not in caplog.text


def test_the_key_of_flask_orbro_init_is_good_enough_for_production(instance: Path) -> None:
    for _ in range(50):
        (instance / "application.cfg").unlink(missing_ok=True)
        CliRunner().invoke(orbro, ["init", "--instance-path", str(instance)], catch_exceptions=False)
        with open_app({"ORBRO_ENV": "prod", "PASSWORD_ROUNDS": 4}, instance_path=instance) as app:
            assert len(app.config["JWT_SECRET_KEY"]) == 64


def test_no_random_key_is_taken_for_one_that_can_be_guessed(instance: Path) -> None:
    for make in (secrets.token_hex, secrets.token_urlsafe, lambda: base64.b64encode(os.urandom(32)).decode()):
        for _ in range(300):
            assert not _can_be_guessed(make())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRUSTED_PROXIES", "1"),
        ("TRUSTED_PROXIES", -1),
        ("TRUSTED_PROXIES", True),
        ("PASSWORD_ROUNDS", 99),
        ("PASSWORD_ROUNDS", 3),
        ("PASSWORD_ROUNDS", None),
    ],
)
def test_a_number_that_cannot_be_is_named(instance: Path, name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} must be a whole number from "):
        create_app(MEMORY | {name: value}, instance_path=instance)


def test_a_broken_instance_file_is_named_and_not_quoted(instance: Path) -> None:
    (instance / "application.cfg").write_text('ORBRO_CLIENT_SECRET = "very-secret')
    with pytest.raises(ConfigurationError, match=r"application\.cfg is not valid: SyntaxError") as caught:
        create_app(instance_path=instance)
    assert "very-secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_the_example_of_the_instance_file_has_all_that_production_requires(instance: Path) -> None:
    content = (PROJECT / "instance" / "application.cfg.example").read_text()
    (instance / "application.cfg").write_text(content)
    with pytest.raises(ConfigurationError, match="ORBRO_CLIENT_ID is missing"):
        create_app(instance_path=instance)
    required = re.findall(r'^(\w+) = ""$', content, re.MULTILINE)
    assert set(required) == set(SECRETS)
    for left_empty in (*required, None):
        filled = {key: value for key, value in SECRETS.items() if key != left_empty}
        lines = [f"{key} = {value!r}" for key, value in filled.items()]
        (instance / "application.cfg").write_text("\n".join([content, *lines, 'ORBRO_ENV = "prod"']))
        if left_empty is None:
            with open_app(instance_path=instance) as app:
                assert get_state(app).config.env == "prod"
        else:
            with pytest.raises(ConfigurationError, match=f"{left_empty} is missing"):
                create_app(instance_path=instance)


def test_the_database_file_is_for_its_owner_alone(instance: Path) -> None:
    with open_app(SECRETS, instance_path=instance):
        assert stat.S_IMODE((instance / "example.sqlite").stat().st_mode) == 0o600


def test_an_instance_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"The database cannot be made at .*file"):
        create_app(SECRETS, instance_path=tmp_path / "file" / "instance")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_instance_folder_without_write_access_is_one_sentence(instance: Path) -> None:
    instance.chmod(0o500)
    with pytest.raises(ConfigurationError, match="Permission denied"):
        create_app(SECRETS, instance_path=instance)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("nonsense", "must be a URL"),
        ("nobodysdatabase://host/name", "must be a URL"),
        ("postgresql+psycopg://me:hidden-word@127.0.0.1:1/x", "cannot be opened"),
    ],
)
def test_a_database_out_of_reach_is_one_sentence_without_its_password(
    instance: Path, uri: str, says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        create_app(SECRETS | {"SQLALCHEMY_DATABASE_URI": uri}, instance_path=instance)
    assert "hidden-word" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [None, "{", '{"name": "no id"}'])
def test_a_descriptor_that_is_missing_or_invalid_is_named(instance: Path, content: str | None) -> None:
    path = instance / "other.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"The app descriptor .*other\.json"):
        create_app(MEMORY | {"ORBRO_DESCRIPTOR": str(path)}, instance_path=instance)
