"""Somebody with an account of the app."""

from __future__ import annotations

import secrets

import httpx2


class Person:
    """Each method answers the status of the app's answer.

    :param app: a client of the running app.
    """

    def __init__(self, app: httpx2.Client) -> None:
        self._app = app
        self._user_id = f"ada-{secrets.token_hex(4)}"
        self._password = secrets.token_urlsafe(12)
        self._token = ""
        self._post = ""

    def register(self) -> int:
        credentials = {"user_id": self._user_id, "user_password": self._password}
        return self._send("POST", "/users", json=credentials | {"user_email": "ada@example.com"})

    def log_in(self, password: str | None = None) -> int:
        answer = self._app.post("/user/auth", auth=(self._user_id, password or self._password))
        self._token = answer.json().get("access_token", "")
        return answer.status_code

    def log_out(self) -> int:
        return self._send("POST", "/user/logout")

    def secret(self) -> int:
        return self._send("GET", "/tests/secret")

    def write(self, title: str) -> int:
        answer = self._app.post("/posts", json=self._document(title), headers=self._headers())
        self._post = answer.headers.get("Location", "")
        return answer.status_code

    def change(self, title: str) -> int:
        return self._send("PUT", self._post, json=self._document(title))

    def sees(self, title: str) -> int:
        """404 where the list does not begin with the post."""
        answer = self._app.get("/posts")
        items = answer.json()["items"]
        return answer.status_code if items and items[0]["title"] == title else 404

    def _document(self, title: str) -> dict[str, str]:
        return {"author_id": self._user_id, "title": title, "body": "Written by the demo."}

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def _send(self, method: str, path: str, json: dict[str, str] | None = None) -> int:
        return self._app.request(method, path, json=json, headers=self._headers()).status_code
