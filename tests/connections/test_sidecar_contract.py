"""Every call of the sidecar client, against Microsoft's own document with request validation on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from flask_orbro.connections import AsyncSidecarClient, DownstreamAnswer, SidecarClient, SidecarRefused

from ..peers import SIDECAR_DOCUMENT

#: An unsigned token of nobody's: Prism looks at its form alone.
USER_TOKEN = "entra.token.of-a-user"
AS_USER = {"user_token": USER_TOKEN}
ACTING: list[dict[str, Any]] = [
    {},
    {"scopes": ["User.Read"]},
    {"tenant": "7f58f645-c190-4ce5-9de4-e2b7acd2a6ab"},
    {"request_app_token": True, "scopes": ["https://graph.microsoft.com/.default"]},
    {"agent_identity": "7f58f645-c190-4ce5-9de4-e2b7acd2a6ab"},
    {"agent_identity": "an-agent", "agent_username": "agent@example.com"},
    {"agent_identity": "an-agent", "agent_user_id": "7f58f645-c190-4ce5-9de4-e2b7acd2a6ab"},
]
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
SEVERAL = {"scopes": ["User.Read", "Mail.Read"]}


class Sidecar:
    """A client, sync or async, with the same words."""

    def __init__(self, url: str, form: str) -> None:
        self._url, self._form = url, form

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if self._form == "sync":
                client = SidecarClient(base_url=self._url)
                try:
                    return getattr(client, name)(*args, **options)
                finally:
                    client.close()

            async def called() -> Any:
                return await getattr(AsyncSidecarClient(base_url=self._url), name)(*args, **options)

            return asyncio.run(called())

        return call


@pytest.fixture(params=["sync", "async"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sidecar(sidecar_url: str, form: str) -> Sidecar:
    return Sidecar(sidecar_url, form)


@pytest.fixture
def corrected(corrected_sidecar_url: str, form: str) -> Sidecar:
    return Sidecar(corrected_sidecar_url, form)


@pytest.mark.parametrize("user", [AS_USER, {}], ids=["user", "app"])
@pytest.mark.parametrize("acting", ACTING)
def test_every_call_passes_validation(sidecar: Sidecar, user: dict[str, Any], acting: dict[str, Any]) -> None:
    assert sidecar.authorization_header("graph", **user, **acting) == "string"
    answer = sidecar.call("graph", "me/messages?$top=5&$filter=isRead%20eq%20false", **user, **acting)
    assert isinstance(answer, DownstreamAnswer)
    assert list(answer.headers) == ["property1", "property2"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_passes_validation(sidecar: Sidecar, method: str) -> None:
    assert sidecar.call("graph", "/me", method, **AS_USER).content is None


@pytest.mark.parametrize("user", [AS_USER, {}], ids=["user", "app"])
def test_what_the_document_says_in_words_alone_passes_once_its_schemas_say_it(
    corrected: Sidecar, user: dict[str, Any]
) -> None:
    """Several scopes are repeated, and a body is posted: its own text says so, its schemas do not."""
    assert corrected.authorization_header("graph", **SEVERAL, **user) == "string"
    body = {"message": {"subject": "Grüße"}}
    corrected.call("graph", "me/sendMail", "POST", json=body, **SEVERAL, **user)


def test_the_document_as_it_is_has_neither_body_nor_repeated_scopes(sidecar: Sidecar) -> None:
    """The day this fails, Microsoft has corrected it, and so can we."""
    description = json.loads(SIDECAR_DOCUMENT.read_text())["paths"]["/DownstreamApi/{apiName}"]["post"]
    assert "optionsOverride.Scopes=User.Read&optionsOverride.Scopes=Mail.Read" in description["description"]
    for options in (SEVERAL, {"json": {"a": 1}}):
        with pytest.raises(SidecarRefused) as caught:
            sidecar.call("graph", "me", "POST", **options)
        [violation] = json.loads(caught.value.answer.headers["sl-violations"])
        expected = "must be string" if options is SEVERAL else "included a non-empty body"
        assert expected in violation["message"]


def test_validation_is_on(sidecar_url: str) -> None:
    with httpx2.Client(trust_env=False) as client:
        wrong = {"optionsOverride.RequestAppToken": "perhaps"}
        assert client.get(f"{sidecar_url}/AuthorizationHeader/graph", params=wrong).status_code == 400
        assert client.get(f"{sidecar_url}/DownstreamApi/graph").status_code == 405


@pytest.fixture
def refusing(sidecar_url: str) -> Iterator[SidecarClient]:
    client = SidecarClient(base_url=sidecar_url, headers={"Prefer": "code=401"})
    yield client
    client.close()


def test_a_problem_document_is_a_typed_error(refusing: SidecarClient) -> None:
    for ask in (
        lambda: refusing.authorization_header("graph", user_token=USER_TOKEN),
        lambda: refusing.call("graph", "me", user_token=USER_TOKEN),
    ):
        with pytest.raises(SidecarRefused) as caught:
            ask()
        assert caught.value.status == 401
        assert set(caught.value.problem) == {"type", "title", "status", "detail", "instance"}
