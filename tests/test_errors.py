"""Errors reach another process as they are: a task's caller can tell them apart there too."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import httpx2
import pytest

from flask_orbro import PlatformRefused
from flask_orbro.connections import Connection
from flask_orbro.connections.fhir import FhirResponse
from flask_orbro.errors import ConnectionFailed, OrbroError, ProblemError

from .http.raw_server import RawServer, answer, fixed

SECRET = "a-token-of-the-app"
#: What the constructors want, by name.
WANTED: dict[str, Any] = {
    "connection": "notes", "status": 409, "answer": None, "error_code": "BUSY", "request_id": "r-1",
    "reason": "because", "errors": {"name": ["is missing"]}, "retry_after": 7.0,
}  # fmt: skip


def tree(root: type[OrbroError]) -> Iterator[type[OrbroError]]:
    yield root
    for below in root.__subclasses__():
        yield from tree(below)


def made(kind: type[OrbroError]) -> OrbroError:
    """An error of a class, with everything that it takes."""
    code: Any = kind.__init__
    taken = code.__code__.co_varnames if issubclass(kind, ProblemError) else ()
    return kind("This went wrong.", **{name: value for name, value in WANTED.items() if name in taken})


def pickled(error: Any) -> Any:
    return pickle.loads(pickle.dumps(error))


ERRORS = sorted(set(tree(OrbroError)), key=lambda kind: kind.__qualname__)


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("carried", [pickled, copy.copy, copy.deepcopy])
def test_every_error_survives(kind: type[OrbroError], carried: Callable[[Any], Any]) -> None:
    error = made(kind)
    same = carried(error)
    assert same is not error
    assert (type(same), same.args, vars(same)) == (kind, error.args, vars(error))
    assert str(same) == str(error)
    if isinstance(error, ProblemError):
        assert (same.data, same.get_headers()) == (error.data, error.get_headers())


def refuse() -> None:
    raise PlatformRefused("The platform answered 404.", status=404)


def test_an_error_of_a_process_is_raised_by_its_caller() -> None:
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        pytest.raises(PlatformRefused) as raised,
    ):
        pool.submit(refuse).result(60)
    assert raised.value.status == 404


def test_the_answer_of_an_error_goes_along_without_the_credential() -> None:
    server = RawServer(fixed(answer(b'{"why": "busy"}', "409 Conflict")))
    auth = {"kind": "bearer", "token": {"config": "KEY"}}
    definition = {"url": f"http://127.0.0.1:{server.port}", "auth": auth}
    connection = Connection("notes", definition, config={"KEY": SECRET})
    with pytest.raises(ConnectionFailed) as raised:
        connection.get("/").raise_for_status()
    connection.close()
    server.close()
    assert SECRET.encode() in server.requests[0]
    assert SECRET in raised.value.answer.request.headers["Authorization"], "here it is still to be seen"
    sent = pickle.dumps(raised.value)
    assert SECRET.encode() not in sent
    there = pickle.loads(sent)
    assert (there.answer.status_code, there.answer.json()) == (409, {"why": "busy"})


def test_an_answer_of_fhir_stays_one() -> None:
    response = FhirResponse.of(httpx2.Response(404, json={"issue": []}), "ehr")
    assert pickled(response).issues == ()
