"""``manage.py run``, ``seed``, ``routes``, ``db`` and ``test``."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from .conftest import free_port
from .test_server import wait_for

Start = Callable[..., subprocess.Popen[str]]


def test_run_serves_until_it_is_stopped(start: Start, environment: dict[str, str], tmp_path: Path) -> None:
    port = free_port()
    environment["FLASK_SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/run.sqlite"
    server = start("manage.py", "run", "--port", str(port), env=environment)
    wait_for(f"http://127.0.0.1:{port}/healthz", server)
    server.terminate()
    output, _ = server.communicate(timeout=10)
    assert f"http://127.0.0.1:{port}/docs" in output
    assert environment["FLASK_ORBRO_CLIENT_SECRET"] not in output


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"FLASK_ORBRO_POOL_SIZE": "many"}, "ORBRO_POOL_SIZE (from app.config) must be a number"),
        ({"FLASK_ORBRO_DESCRIPTOR": "/nowhere/connect.json"}, "/nowhere/connect.json cannot be read"),
        ({"FLASK_SQLALCHEMY_DATABASE_URI": "sqlite:////proc/nowhere/x.sqlite"}, "cannot be made at /proc"),
        ({"FLASK_ORBRO_PLATFORM_HOST": "orbro.example"}, "ORBRO_PLATFORM_SCHEME is 'http'"),
    ],
)
def test_run_says_what_is_wrong_in_one_line(
    start: Start, environment: dict[str, str], wrong: dict[str, str], says: str
) -> None:
    server = start(
        "manage.py", "run", env=environment | {"FLASK_SQLALCHEMY_DATABASE_URI": "sqlite://"} | wrong
    )
    output, _ = server.communicate(timeout=20)
    assert server.returncode == 1
    assert says in output
    assert output.startswith("Error: ")
    assert output.count("\n") == 1


def test_run_says_that_the_port_is_taken(start: Start, environment: dict[str, str], taken_port: int) -> None:
    environment["FLASK_SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    server = start("manage.py", "run", "--port", str(taken_port), env=environment)
    output, _ = server.communicate(timeout=20)
    assert server.returncode == 1
    assert output.startswith(f"Error: Port {taken_port} of 127.0.0.1 cannot be used")
    assert output.count("\n") == 1


def manage(start: Start, environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    process = start("manage.py", *arguments, env=environment)
    output, _ = process.communicate(timeout=20)
    return process.returncode, output


def test_seed_adds_accounts_that_can_log_in_and_posts_and_never_twice(
    start: Start, environment: dict[str, str], tmp_path: Path
) -> None:
    environment["FLASK_SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/seed.sqlite"
    code, output = manage(start, environment, "seed")
    assert code == 0, output
    accounts = dict(re.findall(r"^(\w+)  (\S{16})$", output, re.MULTILINE))
    assert set(accounts) == {"ada", "grace"}
    again = manage(start, environment, "seed")
    assert again == (0, "The demo accounts are there already.\n")
    port = free_port()
    server = start("manage.py", "run", "--port", str(port), env=environment)
    url = f"http://127.0.0.1:{port}"
    wait_for(f"{url}/healthz", server)
    for user_id, password in accounts.items():
        answer = httpx2.post(f"{url}/user/auth", auth=(user_id, password), trust_env=False)
        assert answer.status_code == 200
    assert httpx2.get(f"{url}/posts", trust_env=False).json()["total"] == 3


def test_routes_are_listed(start: Start, environment: dict[str, str]) -> None:
    environment["FLASK_SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    code, output = manage(start, environment, "routes", "--sort", "rule")
    assert code == 0
    for rule in ("/installed", "/posts", "/user/auth", "/docs", "/webhook/device"):
        assert re.search(rf" {rule} *$", output, re.MULTILINE)


def test_db_runs_migrations_and_makes_new_ones(
    start: Start, environment: dict[str, str], tmp_path: Path
) -> None:
    environment["FLASK_SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/db.sqlite"
    environment["FLASK_MIGRATE_ON_START"] = "false"
    assert manage(start, environment, "db", "current") == (0, "")
    assert manage(start, environment, "db", "upgrade")[0] == 0
    code, output = manage(start, environment, "db", "current")
    assert (code, "(head)" in output) == (0, True)
    assert "No new upgrade operations detected" in manage(start, environment, "db", "check")[1]
    code, output = manage(start, environment, "db", "--help")
    assert code == 0
    assert "downgrade" in output
    assert manage(start, environment, "db", "nonsense")[0] == 2


def test_db_commands_of_a_developer_begin_with_no_migration(
    start: Start, environment: dict[str, str], tmp_path: Path
) -> None:
    environment["FLASK_SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/db.sqlite"
    assert manage(start, environment, "seed")[0] == 0  # which migrates
    assert "(head)" in manage(start, environment, "db", "current")[1]
    assert manage(start, environment, "db", "downgrade")[0] == 0
    for command in ("current", "history", "current"):
        code, output = manage(start, environment, "db", command)
        assert code == 0
    assert "(head)" not in output
    assert output


def test_seed_says_that_migrations_are_missing_in_one_line(
    start: Start, environment: dict[str, str], tmp_path: Path
) -> None:
    environment["FLASK_MIGRATE_ON_START"] = "false"
    for uri, says in (
        (f"sqlite:///{tmp_path}/new.sqlite", "lacks migrations. Run them with: python manage.py db upgrade"),
        ("postgresql+psycopg://nobody@127.0.0.1:1/x", "cannot be opened"),
    ):
        environment["FLASK_SQLALCHEMY_DATABASE_URI"] = uri
        code, output = manage(start, environment, "seed")
        assert code == 1
        assert output.startswith("Error: The database ")
        assert says in output
        assert output.count("\n") == 1


@pytest.mark.parametrize("command", ["seed", "routes", "db"])
def test_commands_say_what_is_wrong_in_one_line(
    start: Start, environment: dict[str, str], command: str
) -> None:
    del environment["FLASK_JWT_SECRET_KEY"]
    environment["FLASK_SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    code, output = manage(start, environment, command)
    assert code == 1
    assert output.startswith("Error: JWT_SECRET_KEY is missing")
    assert output.count("\n") == 1


@pytest.mark.parametrize(("content", "code"), [("assert True", 0), ("assert False", 1)])
def test_test_answers_with_pytest_s_own_exit_code(
    start: Start, tmp_path: Path, content: str, code: int
) -> None:
    path = tmp_path / "test_one.py"
    path.write_text(f"def test_one():\n    {content}\n")
    run = start("manage.py", "test", str(path), "-q", "-p", "no:cacheprovider")
    output, _ = run.communicate(timeout=30)
    assert run.returncode == code, output
    assert "1 passed" in output or "1 failed" in output


@pytest.mark.parametrize(
    ("hidden", "command", "says"),
    [
        ("pytest", "test", "pip install -e '.[test]'"),
        ("flask_migrate", "run", "pip install -e '.[example]'"),
    ],
)
def test_what_is_not_installed_is_named_with_the_remedy(
    start: Start, tmp_path: Path, hidden: str, command: str, says: str
) -> None:
    code = (
        "import runpy, sys\n"
        f"sys.modules[{hidden!r}] = None\n"
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        f"util.find_spec = lambda name, *rest: None if name == {hidden!r} else find(name, *rest)\n"
        f"sys.argv = ['manage.py', {command!r}]\n"
        "sys.path.insert(0, '.')\n"
        "runpy.run_path('manage.py', run_name='__main__')\n"
    )
    run = start("-c", code)
    output, _ = run.communicate(timeout=20)
    assert run.returncode == 1
    assert output.startswith(f"Error: {hidden} is not installed")
    assert says in output
    assert output.count("\n") == 1
