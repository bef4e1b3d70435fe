"""The server: hosts, keep-alive, ports, bad input."""

from __future__ import annotations

import socket
import threading

import pytest

import flask_orbro.simulator
from flask_orbro.simulator import SimulatorError, SimulatorServer, create_app


def raw(server: SimulatorServer, *requests: bytes) -> bytes:
    """Everything that comes back on one connection until the server closes it or is silent."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=1) as connection:
        received = b""
        for request in requests:
            connection.sendall(request)
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except TimeoutError:
            pass
        return received


def test_public_names():
    names = ["Platform", "SimulatorError", "SimulatorServer", "create_app"]
    assert flask_orbro.simulator.__all__ == names


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.com", "127.0.0.1.evil", ""])
def test_other_addresses_than_loopback_are_refused(host):
    with pytest.raises(SimulatorError, match="loopback"):
        SimulatorServer(host=host)


def test_clients_from_elsewhere_are_refused():
    client = create_app().test_client()
    answer = client.get("/", environ_base={"REMOTE_ADDR": "192.0.2.1"}, base_url="http://localhost")
    assert (answer.status_code, answer.get_json()["error_code"]) == (403, "NOT_LOCAL")


@pytest.mark.parametrize("name", ["", "a..b", "orbro.localhost:80", "a b"])
def test_base_name_is_a_dns_name(name):
    with pytest.raises(SimulatorError, match="base_name"):
        create_app(base_name=name)


def test_base_name_can_be_chosen():
    with SimulatorServer(base_name="Platform.Test") as server:
        assert server.platform_host == f"platform.test:{server.port}"
        token = server.platform.user_token("acme")
        headers = {"Host": "acme.platform.test", "Authorization": f"Bearer {token}"}
        assert server.app.test_client().get("/api/v1/auth", headers=headers).status_code == 200


def test_taken_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SimulatorError, match=f"port {port} "):
            SimulatorServer(port).start()


@pytest.mark.parametrize("port", [-1, 65536])
def test_impossible_port_is_named(port):
    with pytest.raises(SimulatorError, match=f"port {port} "):
        SimulatorServer(port).start()


def test_second_start_is_refused(server):
    with pytest.raises(SimulatorError, match="runs already"):
        server.start()


def test_stopped_server_releases_its_port_and_threads_and_starts_again(ask, server):
    port, before = server.port, ask("GET", None, "/simulator").status_code
    server.stop()
    server.stop()
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith(f"orbro-simulator-{port}") for name in names)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    server.start()
    assert (server.port, before) == (port, 200)
    assert ask("GET", None, "/simulator").status_code == 200


@pytest.mark.parametrize("host", ["globex", "a.b", "-", "a_b"])
def test_unknown_organization_is_not_found(ask, host):
    answer = ask("GET", host, "/api/v1/auth")
    assert (answer.status_code, answer.json()["error_code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("host", ["127.0.0.1", "evil.example", "orbro.localhost.evil.example", ""])
def test_platform_answers_under_its_own_names_only(server, host):
    request = f"GET /api/v1/oauth/token HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    assert raw(server, request.encode()).startswith(b"HTTP/1.1 404 ")


def test_host_is_case_insensitive_and_any_port_does(server):
    server.platform.organization("acme")
    for host in ("ACME.Orbro.LocalHost", "acme.orbro.localhost:1"):
        request = f"GET /api/v1/auth HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        assert raw(server, request.encode()).startswith(b"HTTP/1.1 401 ")


def test_connection_is_kept_whatever_the_body(server):
    post = b"POST /api/v1/oauth/token HTTP/1.1\r\nHost: orbro.localhost\r\n"
    received = raw(
        server,
        post + b"Content-Length: 30\r\n\r\nGET / HTTP/1.1\r\nHost: evil\r\n\r\n",
        post + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"HEAD /simulator HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /simulator HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    statuses = [line[9:12] for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    statuses += [tail[:3] for tail in received.split(b"}\nHTTP/1.1 ")[1:]]
    assert sorted(statuses) == [b"200", b"200", b"400", b"400"]
    assert received.count(b"Connection: keep-alive") == 3


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"Content-Length: -1\r\n\r\n", b"400"),
        (b"Content-Length: x\r\n\r\n", b"400"),
        (b"Content-Length: 99999999\r\n\r\n", b"413"),
        (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
    ],
    ids=str,
)
def test_bad_framing_ends_the_connection(server, head, status):
    post = b"POST /api/v1/oauth/token HTTP/1.1\r\nHost: orbro.localhost\r\n"
    received = raw(server, post + head)
    assert received.startswith(b"HTTP/1.1 " + status)
    assert b"application/json" in received


@pytest.mark.parametrize("target", [b"//[", b"/%00", b"/%ff", b"//a//b", b"*", b"/" + b"a" * 9000])
def test_bad_targets_are_no_fault_of_the_server(server, target):
    request = b"GET " + target + b" HTTP/1.1\r\nHost: orbro.localhost\r\nConnection: close\r\n\r\n"
    assert raw(server, request)[9:10] in (b"3", b"4")


def test_many_clients_at_once(server, ask):
    token = server.platform.user_token("acme")
    statuses = []

    def work() -> None:
        for _ in range(20):
            statuses.append(ask("GET", "acme", "/api/v1/auth", token).status_code)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 160
    assert server.platform.counts["/api/v1/auth"] == 160
