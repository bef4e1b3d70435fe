"""``flask orbro …``: what it writes, prints, changes and refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask

from flask_orbro.cli import orbro
from flask_orbro.settings import resolve

from ..conftest import CLIENT_SECRET, DESCRIPTOR
from ..lifecycle_world import World, make_world_fixture, world_fixture  # noqa: F401

FILE = "application.cfg"


def run(app: Flask, *arguments: str) -> Result:
    result = app.test_cli_runner().invoke(orbro, list(arguments))
    assert "Traceback" not in result.output
    return result


def test_init_writes_random_secrets_that_only_the_owner_reads(tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        folder = tmp_path / name / "instance"
        result = run(Flask("bare"), "init", "--instance-path", str(folder))
        assert result.exit_code == 0
        path = folder / FILE
        assert str(path) in result.output
        assert path.stat().st_mode & 0o777 == 0o600
        config = resolve({}, {}, folder, {})
        contents.append(path.read_text())
        assert len(config.client_secret) >= 32
        assert config.client_secret not in result.output
    assert contents[0] != contents[1]


def test_init_never_overwrites(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("precious")
    (tmp_path / "dangling").mkdir()
    (tmp_path / "dangling" / FILE).symlink_to(tmp_path / "elsewhere")
    for folder in (tmp_path, tmp_path / "dangling"):
        result = run(Flask("bare"), "init", "--instance-path", str(folder))
        assert result.exit_code == 1
        assert "already there" in result.output
    assert (tmp_path / FILE).read_text() == "precious"
    assert not (tmp_path / "elsewhere").exists()


def test_init_says_in_one_sentence_that_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file" / "instance", Path("/proc/instance")):
        result = run(Flask("bare"), "init", "--instance-path", str(folder))
        assert result.exit_code != 0
        assert "cannot be written" in result.output
        assert str(folder / FILE) in result.output


@pytest.mark.skipif(os.getuid() == 0, reason="nothing is unwritable for root")
def test_init_respects_a_folder_without_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    result = run(Flask("bare"), "init", "--instance-path", str(tmp_path))
    assert result.exit_code == 1
    assert "Permission denied" in result.output


def test_the_descriptor_is_printed_as_it_is_served(world: World) -> None:
    assert json.loads(run(world.app, "descriptor").output) == DESCRIPTOR


def test_organizations_are_listed_with_their_state_and_what_waits(world: World) -> None:
    world.install(shared_secret="s" * 40)
    world.forge()
    world.forge(organization_id="waits-only")
    for arguments in (["organizations"], ["organizations", "--json"]):
        result = run(world.app, *arguments)
        assert result.exit_code == 0
        for secret in ("s" * 40, "f" * 40, CLIENT_SECRET):
            assert secret not in result.output
        assert len(result.output.splitlines()) == 2
    found = {
        record["organization_id"]: record
        for record in map(json.loads, run(world.app, "organizations", "--json").output.splitlines())
    }
    active = {"state": "active", "subdomain": "acme", "claims_waiting": 1, "last_seen": None}
    assert found[world.organization_id] == {"organization_id": world.organization_id, **active}
    assert (found["waits-only"]["state"], found["waits-only"]["claims_waiting"]) == ("pending", 1)


def test_an_empty_list_is_no_error(world: World) -> None:
    result = run(world.app, "organizations")
    assert (result.exit_code, result.output) == (0, "")


def test_approve_trusts_the_one_claim_that_waits(world: World) -> None:
    world.install(send_subdomain=False)
    result = run(world.app, "organizations", "approve", world.organization_id, "--subdomain", "ACME")
    assert (result.exit_code, result.output) == (0, f"{world.organization_id} is active.\n")
    assert world.me() == 200


def test_approve_asks_which_claim_where_several_wait(world: World) -> None:
    world.forge()
    world.forge(shared_secret="g" * 40)
    result = run(world.app, "organizations", "approve", world.organization_id)
    assert result.exit_code == 1
    assert "choose one with --digest" in result.output
    assert world.stored is None
    claims = world.state.claims.of_organization(world.organization_id)
    for claim in claims:
        assert claim.digest[:12] in result.output
        assert claim.shared_secret not in result.output
    chosen = claims[1]
    arguments = ["organizations", "approve", world.organization_id, "--digest", chosen.digest[:12]]
    assert run(world.app, *arguments).exit_code == 0
    assert world.stored is not None
    assert world.stored.shared_secret == chosen.shared_secret


@pytest.mark.parametrize("subdomain", ["a.b", "acme.evil.example/", "", "-a", "ä"])
def test_approve_refuses_what_is_no_subdomain(world: World, subdomain: str) -> None:
    world.install(send_subdomain=False)
    result = run(world.app, "organizations", "approve", world.organization_id, "--subdomain", subdomain)
    assert result.exit_code == 1
    assert "single DNS label" in result.output
    assert world.stored is None


def test_approve_and_remove_say_that_nothing_is_known(world: World) -> None:
    for arguments in (["approve", "nobody"], ["remove", "nobody"], ["approve", "nobody", "--digest", "x"]):
        result = run(world.app, "organizations", *arguments)
        assert result.exit_code == 1
        assert result.output.startswith("Error: No ")


def test_remove_erases_the_secret_and_what_waits(world: World) -> None:
    world.install()
    world.forge()
    result = run(world.app, "organizations", "remove", world.organization_id)
    assert result.exit_code == 0
    assert "1 waiting installs" in result.output
    assert f"{world.organization_id} is uninstalled.\n" in result.output
    assert (world.waiting, world.me()) == (0, 401)
    assert world.stored.shared_secret is None  # type: ignore[union-attr]


def test_remove_drops_claims_of_an_organization_that_was_never_proven(world: World) -> None:
    world.forge()
    result = run(world.app, "organizations", "remove", world.organization_id)
    assert result.exit_code == 0
    assert world.waiting == 0


def test_sweep_asks_about_what_is_due(world: World) -> None:
    world.install(activate="after")
    assert "1 claims wait" in run(world.app, "sweep").output
    world.clock.ahead += 2
    result = run(world.app, "sweep")
    assert (result.exit_code, result.output) == (0, "0 claims wait.\n")
    assert world.me() == 200


def test_without_init_app_the_command_explains_itself() -> None:
    result = Flask("bare").test_cli_runner().invoke(orbro, ["organizations"])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "Did you forget to call 'init_app'?" in result.output


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``flask --app small …`` beside the smallest app there is, as a person does."""
    (tmp_path / "connect.json").write_text(json.dumps(DESCRIPTOR))
    (tmp_path / "small.py").write_text(
        "from flask import Flask\nfrom flask_orbro import OrbroConnect\n"
        "app = Flask(__name__)\nOrbroConnect(app)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_ENV")}

    def flask(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "flask", "--app", "small", *arguments]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    return flask


def test_the_command_is_there_for_every_flask_app(
    tmp_path: Path, small: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    assert small("orbro", "init").returncode == 0
    assert (tmp_path / "instance" / FILE).is_file()
    shown = small("orbro", "descriptor")
    assert (json.loads(shown.stdout), shown.stderr) == (DESCRIPTOR, "")


@pytest.mark.parametrize("arguments", [("run", "--port", "0"), ("orbro", "organizations")])
@pytest.mark.parametrize(
    ("instance", "file", "says"),
    [
        (None, "{}", "ORBRO_CLIENT_ID is missing"),
        ("ORBRO_CLIENT_ID = ", "{}", "application.cfg, line 1 is not valid"),
        ("", None, "cannot be read: No such file"),
        ("", "{", "is not valid JSON: "),
        ("", '{"name": "no id"}', "is not valid: 'id' is required"),
    ],
)
def test_an_app_that_cannot_start_says_why_in_one_sentence(
    tmp_path: Path,
    small: Callable[..., subprocess.CompletedProcess[str]],
    arguments: tuple[str, ...],
    instance: str | None,
    file: str | None,
    says: str,
) -> None:
    (tmp_path / "instance").mkdir()
    if instance is not None:
        keys = 'ORBRO_CLIENT_ID = "c"\nORBRO_CLIENT_SECRET = "s"\n'
        (tmp_path / "instance" / FILE).write_text(instance or keys)
    if file is None:
        (tmp_path / "connect.json").unlink()
    else:
        (tmp_path / "connect.json").write_text(file)
    ended = small(*arguments)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    [said] = [
        line for line in ended.stderr.splitlines() if "WARNING" not in line and "encrypted with" not in line
    ]
    assert said.startswith("Error: ")
    assert says in said
