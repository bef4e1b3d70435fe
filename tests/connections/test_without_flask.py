"""Connections in a FastAPI app, a Django app and a plain script: no Flask, no app context."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import django
import httpx2
import pytest
import uvicorn
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from fastapi import FastAPI, HTTPException

from flask_orbro.connections import AsyncConnection, Connection, async_gather, gather
from flask_orbro.errors import ConnectionRefused

from ..conftest import serve
from .backend import Backend, running_backend


@pytest.fixture
def backend() -> Iterator[Backend]:
    with running_backend() as backend:
        yield backend


def definition(backend: Backend) -> dict[str, Any]:
    return {
        "url": backend.url,
        "auth": {
            "kind": "oauth2_client_credentials",
            "token_url": backend.url + "/token",
            "client_id": "app",
            "client_secret": {"config": "NOTES_SECRET"},
        },
    }


@contextmanager
def serve_asgi(app: Any) -> Iterator[str]:
    """The app over HTTP on a free port; its URL."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def test_in_fastapi_views_sync_and_async(backend: Backend) -> None:
    app = FastAPI()
    notes = Connection("notes", definition(backend), config={"NOTES_SECRET": backend.secret})
    async_notes = AsyncConnection.like(notes)

    @app.get("/sync")
    def sync_view() -> Any:
        return notes.get("/guarded").raise_for_status().json()

    @app.get("/async")
    async def async_view() -> Any:
        return (await async_notes.get("/guarded")).raise_for_status().json()

    @app.get("/missing")
    async def missing() -> Any:
        try:
            return (await async_notes.get("/status/404")).raise_for_status().json()
        except ConnectionRefused as error:
            raise HTTPException(error.status, error.detail) from error

    @app.get("/gathered")
    async def gathered() -> Any:
        found = await async_gather(timeout=5, a=async_notes.get("/a"), b=async_notes.get("/status/500"))
        return {"results": list(found), "late": list(found.errors)}

    with serve_asgi(app) as url, httpx2.Client(base_url=url, trust_env=False) as client:
        for _ in range(3):
            assert client.get("/async").json() == client.get("/sync").json() == {"ok": True}
        refused = client.get("/missing")
        assert (refused.status_code, "'notes'" in refused.json()["detail"]) == (404, True)
        assert client.get("/gathered").json() == {"results": ["a", "b"], "late": []}
    assert len(backend.tokens) == 1


class Project:
    """What the views of the Django project share; a process has one project."""

    notes: Connection


def django_sync(request: HttpRequest) -> JsonResponse:
    return JsonResponse(Project.notes.get("/guarded").raise_for_status().json())


async def django_async(request: HttpRequest) -> JsonResponse:
    answer = await AsyncConnection.like(Project.notes).get("/guarded")
    return JsonResponse(answer.raise_for_status().json())


def django_summary(request: HttpRequest) -> JsonResponse:
    found = gather(a=lambda: Project.notes.get("/a").json()["path"], b=lambda: Project.notes.get("//"))
    return JsonResponse({"results": found.results, "errors": list(found.errors)})


urlpatterns = [path("sync", django_sync), path("async", django_async), path("summary", django_summary)]


def test_in_django_views_sync_and_async(backend: Backend) -> None:
    if not settings.configured:
        settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"])
        django.setup()
    Project.notes = Connection("notes", definition(backend), config={"NOTES_SECRET": backend.secret})
    with serve(get_wsgi_application()) as url, httpx2.Client(base_url=url, trust_env=False) as client:
        for _ in range(3):
            assert client.get("/async").json() == client.get("/sync").json() == {"ok": True}
        assert client.get("/summary").json() == {"results": {"a": "/a"}, "errors": ["b"]}
    assert len(backend.tokens) == 1


SCRIPT = """
import asyncio, json, sys
for name in ("flask", "flask_restx", "sqlalchemy"):
    sys.modules[name] = None  # as if they were not installed
from flask_orbro.connections import AsyncConnection, Connection
definition = json.loads(sys.argv[1])
notes = Connection("notes", definition)
print(notes.get("/guarded").raise_for_status().json())

async def main():
    print((await AsyncConnection("notes", definition).get("/a")).status_code)

asyncio.run(main())
notes.close()
"""


def test_in_a_plain_script_where_there_is_no_flask(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTES_SECRET", backend.secret)
    given = definition(backend)
    given["auth"]["client_secret"] = {"env": "NOTES_SECRET"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, json.dumps(given)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "{'ok': True}\n200\n", "")


def test_a_relaxation_is_always_told_where_there_is_no_app(
    caplog: pytest.LogCaptureFixture,
) -> None:
    Connection("notes", {"url": "http://notes.example", "allow_http": True, "verify": False})
    assert [record.getMessage() for record in caplog.records] == [
        "The connection 'notes': url is 'http': credentials travel in clear.",
        "The connection 'notes': verify is off: whoever answers is believed.",
    ]


def test_all_names_are_what_is_meant_to_be_used() -> None:
    found: dict[str, Any] = {}
    exec("from flask_orbro.connections import *", found)
    assert {"Connection", "AsyncFhirConnection", "SidecarClient", "gather"} <= found.keys()
    assert not any(isinstance(value, ModuleType) for name, value in found.items() if name != "__builtins__")
