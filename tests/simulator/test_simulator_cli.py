"""The commands, run as a user runs them."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner
from flask import Flask

from flask_orbro.simulator.cli import simulate, simulator

EVENT = "device:device_updated"
# Ctrl-C is set up by hand: a shell's background jobs, tests among them, may have to ignore it.
RUN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from flask_orbro.simulator.cli import simulator
simulator()
"""


@pytest.fixture
def run(server, app, monkeypatch):
    """``run("install", …)``: a result with ``exit_code``, ``stdout`` and ``stderr``."""
    monkeypatch.setenv("ORBRO_SIMULATOR_URL", server.url)
    monkeypatch.setenv("ORBRO_APP_URL", app.url)
    monkeypatch.delenv("FLASK_ORBRO_CLIENT_ID", raising=False)
    return lambda *words: CliRunner().invoke(simulate, list(words))


def failed(result) -> str:
    """The sentence of a command that ended as it should when something is wrong."""
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_install_prints_a_line_and_the_body(run, app, server, monkeypatch):
    monkeypatch.setenv("FLASK_ORBRO_CLIENT_ID", "client-7")
    result = run("install")
    line, body = result.stdout.split("\n", 1)
    assert result.exit_code == 0
    assert line.startswith(f"install {app.url}/installed: 200 (")
    assert json.loads(body) == {"detail": "success"}
    assert server.platform.installation("acme").client_id == "client-7"


def test_lifecycle_for_another_organization(run, app, server):
    for command in ("install", "disable", "enable", "uninstall"):
        assert run(command, "--organization", "globex").exit_code == 0
    assert len(app.received) == 4
    assert not server.platform.installation("globex").active


def test_refusal_of_the_app_is_exit_1(run, app):
    app.answer = lambda path, body: ({"detail": "no"}, 400)
    result = run("install", "--activate", "after")
    assert result.exit_code == 1
    assert ": 400 (" in result.stdout
    assert "no" in result.stdout


def test_webhook_repeats_and_reads_files(run, app, tmp_path):
    run("install")
    file = tmp_path / "event.json"
    file.write_text('{"id": 3}')
    result = run("webhook", "--event", EVENT, "--data", f"@{file}", "--repeat", "3")
    assert result.exit_code == 0
    assert result.stdout.count("/webhook/device: 200") == 3
    assert [body["data"] for _, body, _ in app.received[1:]] == [{"id": 3}] * 3
    assert run("webhook", "--event", "any", "--path", "/here", "--older-sub").exit_code == 0
    assert app.received[-1][0] == "/here"


def test_one_refused_webhook_is_exit_1(run, app):
    run("install")
    app.answer = lambda path, body: ({}, 200 if len(app.received) > 2 else 503)
    assert run("webhook", "--event", EVENT, "--repeat", "3").exit_code == 1


def test_call_as_user_names_the_origin(run, server):
    result = run("call", "/whoami?x=1")
    body = json.loads(result.stdout.split("\n", 2)[2])
    assert result.exit_code == 0
    assert body["origin"] == f"http://acme.{server.platform_host}"
    assert body["authorization"].startswith("Bearer ")
    assert body["authorization"].split()[1] not in result.stdout.split("\n", 2)[1]


@pytest.mark.parametrize("who", ["nobody", "open-api", "webhook"])
def test_call_as_others_names_no_origin(run, who):
    run("install")
    result = run("call", "GET", "/whoami", "--as", who)
    assert result.exit_code == 0
    assert '"origin": null' in result.stdout
    assert ('"authorization": null' in result.stdout) == (who == "nobody")


def test_call_with_data_posts(run, app):
    assert run("call", "/notes", "--data", '{"a": 1}', "--as", "nobody").exit_code == 0
    assert app.received[-1] == ("/notes", {"a": 1}, None)
    assert run("call", "get", "/missing").exit_code == 1


@pytest.mark.parametrize("kind", ["user", "connect", "open-api", "webhook"])
def test_token_prints_the_token_alone(run, kind):
    run("install")
    result = run("token", kind)
    assert result.exit_code == 0
    assert result.stdout.count(".") == 2
    assert result.stdout.count("\n") == 1


def test_unreachable_simulator_is_named(run):
    sentence = failed(run("install", "--simulator", "http://127.0.0.1:9"))
    assert "the simulator at http://127.0.0.1:9" in sentence


def test_something_else_at_the_simulators_address_is_named(run, app):
    app.answer = lambda path, body: "hello"
    assert f"There is no simulator at {app.url}" in failed(run("install", "--simulator", app.url))
    said = failed(run("install", "--simulator", "nonsense"))
    assert "cannot be reached" in said
    assert "'flask orbro simulator'" in said


def test_unreachable_app_is_named(run):
    assert "http://127.0.0.1:9" in failed(run("install", "--app-url", "http://127.0.0.1:9"))
    assert "the app at" in failed(run("call", "/", "--app-url", "http://127.0.0.1:9"))
    assert "app_url" in failed(run("install", "--app-url", "nonsense"))


def test_bad_data_is_named(run, tmp_path):
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff")
    for data, said in (("{", "not JSON"), ("@/no/such", "No such file"), (f"@{binary}", "UTF-8")):
        assert said in failed(run("webhook", "--event", EVENT, "--data", data))


def test_what_cannot_be_done_is_said(run):
    assert "install it first" in failed(run("uninstall"))
    run("install")
    assert "no webhook registered" in failed(run("webhook", "--event", "no:such"))


def test_too_many_words_are_a_usage_error(run):
    assert run("call", "GET", "/a", "/b").exit_code == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_simulator_runs_until_interrupted(number):
    command = [sys.executable, "-c", RUN, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        text = "".join(process.stdout.readline() for _ in range(7))
        port = int(text.split("127.0.0.1:")[1].split()[0])
        assert f"ORBRO_PLATFORM_HOST=orbro.localhost:{port}\n" in text
        assert "ORBRO_PLATFORM_SCHEME=http\n" in text
        socket.create_connection(("127.0.0.1", port)).close()
        process.send_signal(number)
        try:
            assert process.wait(10) == 0
        finally:
            process.kill()


def test_taken_port_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(simulator, ["--port", str(port)])
    assert f"port {port}" in failed(result)


def test_wrong_base_name_is_one_sentence():
    result = CliRunner().invoke(simulator, ["--port", "0", "--base-name", "a b"])
    assert "base_name" in failed(result)


def test_an_app_in_the_simulators_place_is_told_apart(run, serving):
    other = Flask("other")
    other.register_error_handler(404, lambda _: ({"detail": "Not here", "status": 404}, 404))
    url = serving(other)
    said = failed(run("install", "--simulator", url))
    assert said == f"Error: There is no simulator at {url}; something else answers.\n"
