"""A short run of ``python -m benchmarks conformance``; the long one is a command."""

from __future__ import annotations

from collections import defaultdict

import pytest

from benchmarks import conformance
from benchmarks.fuzz_world import Failed
from example_app.users.views import Users

pytestmark = pytest.mark.filterwarnings("ignore")  # schemathesis tells of what it could not generate


def test_every_answer_is_as_the_document_says() -> None:
    statuses = defaultdict(set)
    for operation, status in conformance.conform(1500):
        statuses[operation].add(status)
    assert len(statuses) >= 22
    assert {status for found in statuses.values() for status in found} >= {200, 201, 204, 400, 401, 404}
    assert {201, 401} <= statuses["POST /posts"]
    assert {200, 401} <= statuses["GET /platform/me"] & statuses["POST /user/refresh"]


def test_an_answer_that_the_document_does_not_name_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(Users.post.__apidoc__["responses"], "400")
    with pytest.raises(Failed, match="POST /users: Undocumented status code\n\nReceived: 400"):
        conformance.conform(400)
