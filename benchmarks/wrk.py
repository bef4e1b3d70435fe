"""The load generator ``wrk`` (Debian package of that name), driven by a Lua script."""

from __future__ import annotations

import json
import re

from .errors import BenchmarkError
from .load import COUNTER, Request, Sample

_RESULT = re.compile(r"^RESULT (.+)$", re.MULTILINE)

_DONE = """
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("RESULT %d %d %d %d %f %f\\n", summary.requests, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, summary.duration,
    latency:percentile(50), latency:percentile(99)))
end
"""


def script(request: Request, counter: int) -> str:
    """The Lua script for a request. JSON strings of ASCII text are Lua strings, too.

    :param counter: the first number that stands for :data:`~benchmarks.load.COUNTER`.
    """
    lines = [f"wrk.method = {_text(request.method)}", f"wrk.body = {_text(request.body)}"]
    lines += [f"wrk.headers[{_text(name)}] = {_text(value)}" for name, value in request.all_headers().items()]
    if request.is_cold:
        prefix = (request.authorization or "").partition(COUNTER)[0]
        lines += [
            f"local counter = {counter}",
            "request = function()",
            "  counter = counter + 1",
            f'  wrk.headers["Authorization"] = {_text(prefix)} .. string.format("%043d", counter)',
            "  return wrk.format()",
            "end",
        ]
    return f"wrk.path = {_text(request.path)}\n" + "\n".join(lines) + _DONE


def command(wrk: str, lua: str, port: int, *, connections: int, seconds: int) -> list[str]:
    """One thread: the counter of new tokens is one per thread.

    :param lua: path of the script.
    """
    return [
        *(wrk, "--threads", "1", "--connections", str(connections)),
        *("--duration", f"{seconds}s", "--timeout", "20s"),
        *("--script", lua, f"http://127.0.0.1:{port}"),
    ]


def read_result(output: str) -> Sample:
    """:raises BenchmarkError: wrk did not print the line that the script makes it print."""
    found = _RESULT.search(output)
    if found is None:
        raise BenchmarkError(f"wrk gave no result: {output[-1000:]}")
    total, refused, broken, microseconds, p50, p99 = map(float, found.group(1).split())
    return Sample(
        answered=int(total - refused),
        failed=int(refused + broken),
        seconds=microseconds / 1e6,
        p50=p50 / 1e6,
        p99=p99 / 1e6,
    )


def _text(value: str) -> str:
    if not value.isascii():
        raise BenchmarkError("The wrk script takes ASCII only.")
    return json.dumps(value)
