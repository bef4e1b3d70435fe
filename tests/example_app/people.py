"""Accounts of the example app, for tests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from ..conftest import bearer

PASSWORD = "correct horse battery staple"


def register(client: FlaskClient, user_id: str = "ada", **changes: Any) -> TestResponse:
    body = {"user_id": user_id, "user_email": "ada@example.com", "user_password": PASSWORD}
    return client.post("/users", json=body | changes)


def log_in(client: FlaskClient, user_id: str = "ada", password: str = PASSWORD, **more: Any) -> TestResponse:
    return client.post("/user/auth", json={"user_id": user_id, "user_password": password}, **more)


def titles(client: FlaskClient, **query: Any) -> list[str]:
    """Of a page of the post list."""
    document = client.get("/posts", query_string=query).json
    assert document is not None
    return [post["title"] for post in document["items"]]


def at_once(app: Flask, *requests: Callable[[FlaskClient], Any]) -> list[int]:
    """Send all at the same time; the statuses."""
    statuses = []
    together = threading.Barrier(len(requests))

    def run(send: Callable[[FlaskClient], Any]) -> None:
        client = app.test_client()
        together.wait()
        statuses.append(send(client).status_code)

    threads = [threading.Thread(target=run, args=(send,)) for send in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(statuses)


class Person:
    """Somebody who has registered and logged in."""

    def __init__(self, client: FlaskClient, user_id: str = "ada") -> None:
        assert register(client, user_id).status_code == 201
        self.client = client
        self.user_id = user_id
        self.log_in()

    def log_in(self) -> None:
        document = log_in(self.client, self.user_id).json
        assert document is not None
        self.access, self.refresh = document["access_token"], document["refresh_token"]

    def send(self, method: str, path: str, *, token: str | None = None, **options: Any) -> TestResponse:
        """With the access token, or another one."""
        return self.client.open(path, method=method, headers=bearer(token or self.access), **options)

    def write(self, title: str = "A title", **changes: Any) -> TestResponse:
        return self.send("POST", "/posts", json=self.post(title, **changes))

    def post(self, title: str = "A title", **changes: Any) -> dict[str, Any]:
        return {"author_id": self.user_id, "title": title, "body": "A body."} | changes
