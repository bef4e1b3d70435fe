"""``manage.py demo``: it tells the truth, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from demo import processes
from demo.processes import Child, Children, DemoError, children, free_ports
from demo.tour import Tour

Start = Callable[..., subprocess.Popen[str]]
pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")


@pytest.fixture
def marked(tmp_path: Path) -> dict[str, str]:
    """An environment by which every process of one demo is known, and its temporary files too."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return {**os.environ, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}


def left_behind(environment: dict[str, str]) -> list[str]:
    """Processes of the demo that still run, and files that it has left."""
    mark = f"TMPDIR={environment['TMPDIR']}".encode()
    found = [str(path) for path in Path(environment["TMPDIR"]).iterdir()]
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes().split(b"\0"):
                found.append((path.parent / "cmdline").read_text())
        except OSError:
            continue
    return found


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """The output up to the line with these words."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if words in line:
            return "".join(lines)
    raise AssertionError("".join(lines))


def test_demo_once_goes_round_and_leaves_nothing(start: Start, marked: dict[str, str]) -> None:
    # A developer's own set-up has no say in it.
    foreign = {"ORBRO_ENV": "prod", "FLASK_ORBRO_REDIS_URL": "nonsense", "ENV": "x", "http_proxy": "http://x"}
    began = time.monotonic()
    demo = start("manage.py", "demo", "--once", env=marked | foreign | {"PYTHONIOENCODING": "utf-8"})
    output, _ = demo.communicate(timeout=40)
    assert demo.returncode == 0, output
    assert time.monotonic() - began < 30
    steps = re.findall(r"^  (.) (\d+)  ", output, re.MULTILINE)
    assert len(steps) > 30
    assert {mark for mark, _ in steps} == {"✓"}
    assert {"200", "400", "401"} <= {status for _, status in steps}
    for step in ("201  POST /users", "200  POST /user/auth", "201  POST /posts", "204  POST /user/logout"):
        assert f"✓ {step}" in output
    for path in ("/platform/me", "/platform/app", "/platform/open", "/platform/users", "/webhook/device"):
        assert f"✓ 200  {'POST' if 'webhook' in path else 'GET'} {path}" in output
        assert f"✓ 401  {'POST' if 'webhook' in path else 'GET'} {path}" in output
    for step in ("200  GET /patients/example-1, user token", "202  POST /graph/messages/send, Entra token"):
        assert f"✓ {step}" in output
    assert f"{len(steps)} of {len(steps)} steps were as expected." in output
    assert left_behind(marked) == []


def test_demo_works_without_gunicorn_and_on_a_terminal_that_knows_ascii_alone(
    start: Start, marked: dict[str, str]
) -> None:
    code = (
        "import importlib.util as util, runpy, sys; find = util.find_spec; "
        "util.find_spec = lambda name, *rest: None if name == 'gunicorn' else find(name, *rest); "
        "sys.argv = ['manage.py', 'demo', '--once']; sys.path.insert(0, '.'); "
        "runpy.run_path('manage.py', run_name='__main__')"
    )
    demo = start("-c", code, env=marked | {"PYTHONIOENCODING": "ascii"})
    output, _ = demo.communicate(timeout=40)
    assert demo.returncode == 0, output
    assert "  ok   200  GET /healthz" in output
    assert output.isascii()
    assert left_behind(marked) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_stays_up_until_it_is_told_and_ends_all_it_started(
    start: Start, marked: dict[str, str], number: signal.Signals
) -> None:
    demo = start("manage.py", "demo", env=marked)
    shown = read_until(demo, "Ctrl-C ends both.")
    documents = re.search(r"Swagger UI +(\S+)", shown)
    platform = re.search(r"Simulator +(\S+)", shown)
    assert documents
    assert platform
    for url in (documents[1], platform[1]):
        assert httpx2.get(url, trust_env=False).status_code == 200
    assert len(left_behind(marked)) >= 3
    demo.send_signal(number)
    demo.send_signal(number)
    output, _ = demo.communicate(timeout=15)
    assert demo.returncode == 0
    assert output.endswith("Stopped.\n")
    assert left_behind(marked) == []


@pytest.mark.parametrize("words", ["Starting the platform", "Starting the app", "GET /healthz"])
def test_a_demo_that_is_stopped_in_the_middle_leaves_nothing(
    start: Start, marked: dict[str, str], words: str
) -> None:
    demo = start("manage.py", "demo", "--once", env=marked)
    read_until(demo, words)
    demo.send_signal(signal.SIGINT)
    output, _ = demo.communicate(timeout=15)
    assert demo.returncode == 130
    assert "Traceback" not in output
    assert left_behind(marked) == []


def test_demo_ends_the_other_when_one_dies(start: Start, marked: dict[str, str]) -> None:
    demo = start("manage.py", "demo", env=marked)
    read_until(demo, "Ctrl-C ends both.")
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        command = path.read_bytes()
        mine = f"TMPDIR={marked['TMPDIR']}".encode()
        if b"simulator" in command and mine in (path.parent / "environ").read_bytes():
            os.kill(int(path.parent.name), signal.SIGKILL)
    output, _ = demo.communicate(timeout=15)
    assert demo.returncode == 1
    assert "Error: The simulator ended by itself." in output
    assert left_behind(marked) == []


@pytest.mark.parametrize("option", ["--port", "--platform-port"])
def test_demo_says_that_a_port_is_taken(
    start: Start, marked: dict[str, str], taken_port: int, option: str
) -> None:
    demo = start("manage.py", "demo", "--once", option, str(taken_port), env=marked)
    output, _ = demo.communicate(timeout=20)
    assert demo.returncode == 1
    assert output == f"Error: Port {taken_port} of 127.0.0.1 cannot be used: Address already in use.\n"


def test_free_ports_differ() -> None:
    assert len(set(free_ports(0, 0, 0))) == 3


def test_a_child_that_dies_early_is_quoted(tmp_path: Path) -> None:
    with children() as started:
        child = python(started, tmp_path, "raise SystemExit('no such luck')")
        with pytest.raises(DemoError, match=r"(?s)The simulator ended by itself\..*no such luck"):
            child.wait_until_healthy("http://127.0.0.1:1/")


def test_a_child_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STARTING", 0.3)
    with children() as started:
        child = python(started, tmp_path, "import time; time.sleep(60)")
        with pytest.raises(DemoError, match=r"The simulator does not answer at http://127\.0\.0\.1:1/"):
            child.wait_until_healthy("http://127.0.0.1:1/")


def test_a_child_that_will_not_end_is_made_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "ENDING", 0.3)
    with children() as started:
        stubborn = (
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
            "print('up', flush=True); time.sleep(60)"
        )
        child = python(started, tmp_path, stubborn)
        while not (tmp_path / "log").read_text():
            time.sleep(0.01)
        child.check()
    with pytest.raises(DemoError):
        child.check()


def python(started: Children, folder: Path, code: str) -> Child:
    command = [sys.executable, "-c", code]
    return started.start("The simulator", command, environ=dict(os.environ), cwd=folder, log=folder / "log")


def test_a_step_that_is_not_as_expected_counts(capsys: pytest.CaptureFixture[str]) -> None:
    with Tour("http://127.0.0.1:1", "http://127.0.0.1:1", "client") as tour:
        tour._step("a door", 200, lambda: 401)
        tour._step("a wall", 200, tour._call, "GET", "/healthz")
        tour._step("a window", 200, lambda: 200)
    assert (tour.steps, tour.surprises) == (3, 2)
    shown = capsys.readouterr().out
    assert "401  a door   (expected 200)" in shown
    assert "no answer (ConnectError)  a wall   (expected 200)" in shown


def test_the_app_itself_imports_nothing_of_the_demo(start: Start) -> None:
    code = (
        "import sys; from example_app import create_app; create_app('testing'); "
        "sys.exit('demo' in sys.modules or 'flask_orbro.simulator.server' in sys.modules)"
    )
    process = start("-c", code)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0, output
