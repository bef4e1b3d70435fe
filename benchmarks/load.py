"""One scenario under load: what is sent, who sends it, and what came of it."""

from __future__ import annotations

import http.client
import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import BenchmarkError
from .processes import ROOT, clean_environment, on_cores

#: Stands for a number that differs in every request. Digits only, so that a token it is the
#: signature of stays base64url; 43 of them, as a SHA-256 signature has.
COUNTER = "{counter:043d}"
#: How long a load generator may go on after the time it was given, in seconds.
GRACE = 30.0


@dataclass(frozen=True)
class Request:
    """One HTTP request. :data:`COUNTER` in ``authorization`` makes each one's token a new one."""

    path: str
    method: str = "GET"
    authorization: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""

    @property
    def is_cold(self) -> bool:
        return COUNTER in (self.authorization or "")

    def all_headers(self) -> dict[str, str]:
        headers = dict(self.headers)
        if self.authorization is not None:
            headers["Authorization"] = self.authorization
        return headers


@dataclass(frozen=True)
class Sample:
    """What one run gave. Times are in seconds.

    :param answered: 2xx answers.
    :param failed: other answers, and connections that broke.
    :param cpu: per answer, of the server; filled in by who knows the server.
    """

    answered: int
    failed: int
    seconds: float
    p50: float
    p99: float
    cpu: float = 0.0
    connections_per_call: float | None = None

    @property
    def rate(self) -> float:
        """2xx answers per second."""
        return self.answered / self.seconds


class Load:
    """Sends one request over and over on kept connections, each waiting for its answer.

    :param cores: where the load generator runs.
    :param tool: ``wrk``, ``python``, or ``auto``: wrk where it is installed.
    """

    def __init__(self, *, connections: int, cores: set[int] | None, tool: str = "python") -> None:
        self._connections = connections
        self._cores = cores
        self._wrk = shutil.which("wrk") if tool in ("auto", "wrk") else None
        if tool == "wrk" and self._wrk is None:
            raise BenchmarkError("wrk is not installed (Debian: the package 'wrk'); use '--driver python'.")
        # Each run counts on from here, so that no token comes twice, in whatever round.
        self._counter = 0

    @property
    def name(self) -> str:
        return "wrk" if self._wrk else "the driver of benchmarks/driver.py"

    def run(self, port: int, request: Request, seconds: float) -> Sample:
        """Load a server on loopback for a while."""
        self._counter += 100_000_000
        if self._wrk:
            from .wrk import script

            return self._run_wrk(port, script(request, self._counter), seconds)
        return self._run_own(port, request, seconds)

    def once(self, port: int, request: Request) -> None:
        """:raises BenchmarkError: the answer to one request is not 200."""
        self._counter += 1
        headers = {
            name: value.replace(COUNTER, f"{self._counter:043d}")
            for name, value in request.all_headers().items()
        }
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=GRACE)
        try:
            connection.request(request.method, request.path, request.body or None, headers)
            answer = connection.getresponse()
            said = answer.read(2000).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise BenchmarkError(f"{request.path} gave no answer: {error!r}.") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise BenchmarkError(f"{request.method} {request.path} answered {answer.status}: {said}")

    def _run_wrk(self, port: int, lua: str, seconds: float) -> Sample:
        from .wrk import command, read_result

        assert self._wrk is not None
        # A file, not standard input: wrk reads its script once for each thread and once for itself.
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
            file.write(lua)
            file.flush()
            argv = command(
                self._wrk, file.name, port, connections=self._connections, seconds=math.ceil(seconds)
            )
            return read_result(self._child(argv, "", seconds))

    def _run_own(self, port: int, request: Request, seconds: float) -> Sample:
        processes = min(4, len(self._cores), self._connections) if self._cores else 1
        shares = [self._connections // processes] * processes
        shares[0] += self._connections - sum(shares)
        order = {
            "port": port,
            "request": _on_the_wire(port, request),
            "cold": request.is_cold,
            "counter": self._counter,
            "shares": shares,
            "seconds": seconds,
        }
        result = self._child([sys.executable, "-m", "benchmarks.driver"], json.dumps(order), seconds)
        try:
            document: dict[str, Any] = json.loads(result)
        except ValueError:
            raise BenchmarkError(f"The driver said no JSON: {result[-500:]!r}") from None
        return Sample(**document)

    def _child(self, argv: list[str], fed: str, seconds: float) -> str:
        """Run a generator to its end; one that does not end is killed.

        :param fed: its standard input.
        """
        with on_cores(self._cores):
            try:
                done = subprocess.run(
                    argv,
                    input=fed,
                    cwd=ROOT,
                    env=clean_environment(),
                    capture_output=True,
                    text=True,
                    timeout=seconds + GRACE,
                )
            except subprocess.TimeoutExpired:
                raise BenchmarkError(f"{Path(argv[0]).name} did not end in time.") from None
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip()[-1500:]
            raise BenchmarkError(f"{' '.join(argv[:3])} failed with status {done.returncode}: {said}")
        return done.stdout


def _on_the_wire(port: int, request: Request) -> str:
    lines = [f"{request.method} {request.path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    lines += [f"{name}: {value}" for name, value in request.all_headers().items()]
    if request.body:
        lines.append(f"Content-Length: {len(request.body.encode())}")
    return "\r\n".join((*lines, "", request.body))
