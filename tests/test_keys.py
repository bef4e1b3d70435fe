"""Where the key ring comes from, and what is said where it is missing or wrong."""

from __future__ import annotations

import base64
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.orm import sessionmaker

from flask_orbro import ConfigurationError, OrbroConnect
from flask_orbro.cli import orbro
from flask_orbro.crypto import KeyRing, key_id, new_key
from flask_orbro.keys import KEY_FILE
from flask_orbro.settings import resolve
from flask_orbro.state import get_state

from .conftest import CLIENT_ID, CLIENT_SECRET

MakeApp = Callable[..., Flask]
OLD, NEW = new_key(), new_key()
MINIMUM = {"ORBRO_CLIENT_ID": CLIENT_ID, "ORBRO_CLIENT_SECRET": CLIENT_SECRET}


def ids(*keys: str) -> tuple[str, ...]:
    return tuple(key_id(base64.urlsafe_b64decode(key)) for key in keys)


@pytest.mark.parametrize(
    "setting",
    [
        [NEW, OLD],
        (NEW, OLD),
        f"{NEW},{OLD}",
        f" {NEW.rstrip('=')} , {OLD} ",
        [base64.b64encode(base64.urlsafe_b64decode(NEW)).decode(), OLD],
    ],
    ids=lambda setting: type(setting).__name__,  # the keys are other ones in every process
)
def test_keys_are_a_list_or_text_with_commas_newest_first(make_app: MakeApp, setting: Any) -> None:
    assert get_state(make_app(ORBRO_ENCRYPTION_KEYS=setting)).keys.ids == ids(NEW, OLD)


@pytest.mark.parametrize(
    "setting",
    [
        [], [""], "short", [NEW[:-8]], [NEW + NEW], [NEW, NEW], [NEW, 7], 7, {"key": NEW}, f"{NEW},",
        [NEW.encode()], [NEW[:20] + "!" + NEW[21:]],
    ],
    ids=lambda setting: type(setting).__name__,
)  # fmt: skip
def test_what_is_no_list_of_keys_is_refused_and_not_quoted(make_app: MakeApp, setting: Any) -> None:
    with pytest.raises(ConfigurationError, match="ORBRO_ENCRYPTION_KEYS") as caught:
        make_app(ORBRO_ENCRYPTION_KEYS=setting)
    assert NEW[:20] not in str(caught.value)
    assert "32 bytes in base64" in str(caught.value)


@pytest.mark.parametrize("env", ["stg", "prod"])
def test_outside_development_an_app_without_keys_does_not_start(make_app: MakeApp, env: str) -> None:
    with pytest.raises(ConfigurationError, match=r"ORBRO_ENCRYPTION_KEYS is missing.*flask orbro new-key"):
        make_app(ORBRO_ENV=env, ORBRO_ENCRYPTION_KEYS=None)


def test_in_development_a_key_is_made_once_for_its_owner_alone(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(ORBRO_ENCRYPTION_KEYS=None)
    path = Path(app.instance_path) / KEY_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert str(path) in caplog.text
    written = path.read_text().strip()
    assert get_state(app).keys.ids == ids(written)
    assert written not in caplog.text
    assert [found.name for found in path.parent.iterdir() if found.name.startswith(KEY_FILE)] == [KEY_FILE]
    caplog.clear()
    make_app(ORBRO_ENCRYPTION_KEYS=NEW)
    assert "ORBRO_ENCRYPTION_KEYS" not in caplog.text


def beside(app: Flask) -> Flask:
    """Another app in the same instance folder, that sets no keys; not initialised yet."""
    again = Flask("again", root_path=app.root_path, instance_path=app.instance_path)
    again.config.update(app.config, ORBRO_ENCRYPTION_KEYS=None)
    return again


def test_the_file_may_hold_several_keys(make_app: MakeApp) -> None:
    app = make_app()
    (Path(app.instance_path) / KEY_FILE).write_text(f"{NEW},{OLD}\n")
    again = beside(app)
    OrbroConnect(again)
    assert get_state(again).keys.ids == ids(NEW, OLD)
    get_state(again).close()


def test_a_key_that_the_setting_lacks_is_told_of_by_its_file(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(ORBRO_ENCRYPTION_KEYS=None)
    path = Path(app.instance_path) / KEY_FILE
    made = path.read_text().strip()

    def start_again(*keys: str) -> str:
        caplog.clear()
        again = Flask("again", instance_path=app.instance_path, root_path=app.root_path)
        again.config.update(app.config | {"ORBRO_ENCRYPTION_KEYS": list(keys)})
        OrbroConnect(again)
        get_state(again).close()
        return caplog.text

    said = start_again(NEW)
    assert f"{path} holds a key that ORBRO_ENCRYPTION_KEYS lacks" in said
    assert made not in said
    assert KEY_FILE not in start_again(NEW, made)
    path.unlink()
    assert KEY_FILE not in start_again(NEW)


def test_processes_that_start_at_once_have_one_key(tmp_path: Path) -> None:
    (tmp_path / "connect.json").write_text('{"id": "a", "name": "a", "baseUrl": "http://a"}')
    code = (
        "import sys; from flask import Flask; from flask_orbro import OrbroConnect\n"
        "from flask_orbro.state import get_state\n"
        "app = Flask('app', root_path=sys.argv[1], instance_path=sys.argv[1] + '/instance')\n"
        f"app.config.update({MINIMUM!r})\n"
        "sys.stdin.readline(); OrbroConnect(app); print(get_state(app).keys.ids)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 4
    assert len(told) == 1
    assert told != {""}


@pytest.mark.parametrize("content", ["", "rubbish", "\n"])
def test_a_key_file_of_no_use_is_one_sentence(make_app: MakeApp, content: str) -> None:
    app = make_app()
    (Path(app.instance_path) / KEY_FILE).write_text(content)
    with pytest.raises(ConfigurationError, match=f"{KEY_FILE} holds no keys"):
        OrbroConnect(beside(app))


def test_a_folder_that_cannot_hold_the_key_is_one_sentence(make_app: MakeApp, tmp_path: Path) -> None:
    again = beside(make_app())
    (tmp_path / "file").touch()
    again.instance_path = str(tmp_path / "file" / "instance")
    with pytest.raises(ConfigurationError, match=r"The key file .* cannot be used: Not a directory"):
        OrbroConnect(again, db_session_maker=sessionmaker())


def test_init_writes_a_key_and_new_key_prints_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    runner = Flask("bare").test_cli_runner()
    assert runner.invoke(orbro, ["init", "--instance-path", str(tmp_path)]).exit_code == 0
    keys = resolve({}, {}, tmp_path, {}).encryption_keys
    assert keys is not None
    assert [len(key) for key in keys] == [32]
    printed = [runner.invoke(orbro, ["new-key"]).output.strip() for _ in range(2)]
    assert printed[0] != printed[1]
    assert all(KeyRing([base64.urlsafe_b64decode(key)]) for key in printed)


def test_the_keys_are_not_in_the_configurations_repr(make_app: MakeApp) -> None:
    config = get_state(make_app(ORBRO_ENCRYPTION_KEYS=[NEW])).config
    assert config.encryption_keys is not None
    assert repr(config.encryption_keys[0])[2:-1] not in repr(config)
