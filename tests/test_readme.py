"""What the README shows is what there is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from flask import Flask

from flask_orbro import public
from flask_orbro.cli import orbro
from flask_orbro.config import settings_table
from flask_orbro.connections import Sources, read_definitions
from flask_orbro.simulator import SimulatorServer
from flask_orbro.state import get_state

from .conftest import CLIENT_ID, CLIENT_SECRET, bearer

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_settings_table_is_the_code_s() -> None:
    shown = re.search(r"<!-- settings -->\n(.*?)\n<!-- /settings -->", README.read_text(), re.DOTALL)
    expected = ["| key | default | unit | meaning |", "|---|---|---|---|"]
    for key, default, unit, meaning in settings_table():
        written = "" if default is None else f"`{default!r}`"
        expected.append(f"| `{key}` | {written} | {unit} | {meaning} |")
    assert shown is not None
    assert shown.group(1).splitlines() == expected


def _commands(group: click.Group, *path: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from _commands(command, *path, name)


@pytest.mark.parametrize("command", list(_commands(orbro)), ids=" ".join)
def test_every_command_is_in_the_table(command: tuple[str, ...]) -> None:
    *groups, name = command
    row = rf"^\| `flask orbro {' '.join(groups)}[^`]*(?<=[ |]){name}\b[^`]*` \|"
    assert re.search(row, README.read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", public.__all__)
def test_every_public_name_is_told_of(name: str) -> None:
    assert any(re.search(rf"\b{name}\b", page.read_text()) for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_what_is_there(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text()):
        other = page.parent / target if target else page
        assert other.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.*)", other.read_text(), re.MULTILINE)
            assert anchor in [re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles]


def test_every_page_is_reached_from_the_readme() -> None:
    assert all(f"docs/{page.name}" in README.read_text() for page in PAGES[1:])


def test_the_connections_are_defined_as_shown() -> None:
    [shown] = [block for block in blocks("python") if block.startswith("ORBRO_CONNECTIONS")]
    namespace: dict[str, Any] = {}
    exec(shown, namespace)
    sources = Sources(config={"WEATHER_KEY": "key"}, env={"NOTES_SECRET": "secret"})
    read = read_definitions(namespace["ORBRO_CONNECTIONS"], sources, path="ORBRO_CONNECTIONS")
    assert {name: definition.auth_kind for name, definition in read.items()} == {
        "weather": "api_key",
        "notes": "oauth2_client_credentials",
    }


@pytest.mark.parametrize("testing", [True, False])
def test_the_app_factory_runs_as_shown(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    simulator: SimulatorServer,
    serving: Callable[[Flask], str],
    origin: str,
    testing: bool,
) -> None:
    (tmp_path / "hello.py").write_text(blocks("python")[0])
    (tmp_path / "connect.json").write_text(blocks("json")[0])
    monkeypatch.syspath_prepend(str(tmp_path))
    environment = {
        "CLIENT_ID": CLIENT_ID,
        "CLIENT_SECRET": CLIENT_SECRET,
        "PLATFORM_HOST": simulator.platform_host,
        "PLATFORM_SCHEME": "http",
    }
    for name, value in environment.items():
        monkeypatch.setenv(f"FLASK_ORBRO_{name}", value)
    namespace: dict[str, Any] = {"__name__": "hello", "__file__": str(tmp_path / "hello.py")}
    code = compile((tmp_path / "hello.py").read_text(), str(tmp_path / "hello.py"), "exec")
    monkeypatch.chdir(tmp_path)
    exec(code, namespace)
    app = namespace["create_app"]()
    app.testing = testing
    try:
        assert simulator.platform.install(serving(app), "acme").ok
        client = app.test_client()
        accepted = client.get(
            "/me", query_string={"origin": origin}, headers=bearer(simulator.platform.user_token("acme"))
        )
        assert accepted.json == {"email": "admin@acme.example", "role": "HQ"}
        assert client.get("/me", query_string={"origin": origin}).status_code == 401
        assert client.get("/docs").status_code == 200
        paths = client.get("/swagger.json").json["paths"]
        assert "/installed" in paths
        assert "200" in paths["/me"]["get"]["responses"]
    finally:
        get_state(app).close()
