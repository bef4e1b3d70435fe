"""The servers that the other tests rely on: they refuse what they should."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import quote_plus

import httpx2
import pytest

from ..conftest import bearer
from ..peers import Oidc


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    with httpx2.Client(trust_env=False) as client:
        yield client


def token(http: httpx2.Client, oidc: Oidc, scope: str) -> str:
    auth = (quote_plus(oidc.CLIENT), quote_plus(oidc.SECRET))
    body = {"grant_type": "client_credentials", "scope": scope}
    answer = http.post(oidc.token_url, data=body, auth=auth).raise_for_status().json()
    return str(answer["access_token"])


def test_a_token_opens_what_its_scope_names_until_it_is_revoked(
    http: httpx2.Client, oidc: Oidc, notes_url: str, fhir_url: str
) -> None:
    before = oidc.counts()["issued"]
    of_notes = bearer(token(http, oidc, "notes"))
    assert oidc.counts()["issued"] == before + 1
    assert http.get(f"{notes_url}/notes", headers=of_notes).status_code == 200
    assert http.get(f"{fhir_url}/Patient", headers=of_notes).status_code == 403
    oidc.revoke(of_notes["Authorization"].removeprefix("Bearer "))
    assert http.get(f"{notes_url}/notes", headers=of_notes).status_code == 401
    assert http.get(f"{notes_url}/notes").status_code == 401


def test_a_token_expires(http: httpx2.Client, oidc: Oidc, notes_url: str) -> None:
    oidc.set_life(1)
    try:
        of_notes = bearer(token(http, oidc, "notes"))
    finally:
        oidc.set_life(600)
    assert http.get(f"{notes_url}/notes", headers=of_notes).status_code == 200
    time.sleep(2)
    assert http.get(f"{notes_url}/notes", headers=of_notes).status_code == 401


def test_a_wrong_secret_gets_no_token(http: httpx2.Client, oidc: Oidc) -> None:
    before = oidc.counts()
    body = {"grant_type": "client_credentials", "client_id": oidc.CLIENT}
    answers = [http.post(oidc.token_url, data=body | {"client_secret": s}) for s in (oidc.SECRET, "guessed")]
    assert [answer.status_code for answer in answers] == [200, 401]
    after = oidc.counts()
    assert [after[name] - before[name] for name in ("issued", "refused", "post", "basic")] == [1, 1, 2, 0]
