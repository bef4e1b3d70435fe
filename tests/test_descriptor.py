"""connect.json: what is taken, what is refused, and by which words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from flask_orbro import OrbroConnect
from flask_orbro.descriptor import check_descriptor, read_descriptor
from flask_orbro.errors import ConfigurationError, DescriptorError

from .conftest import DESCRIPTOR, LIFECYCLE

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def test_the_document_is_kept_as_it_came_and_its_paths_are_read() -> None:
    checked = check_descriptor(DESCRIPTOR)
    assert (checked.id, checked.lifecycle, checked.document) == ("com.example.tests", LIFECYCLE, DESCRIPTOR)


def test_only_the_id_is_required() -> None:
    assert check_descriptor({"id": "x"}).lifecycle == {}
    assert check_descriptor({"id": "x", "lifecycle": {"installed": "/in", "other": 1}}).lifecycle == {
        "installed": "/in"
    }


@pytest.mark.parametrize(
    "document", [None, [], "x", 1, {}, {"id": ""}, {"id": 1}, {"id": None}, {"id": ["x"]}]
)
def test_a_document_without_an_id_is_refused(document: Any) -> None:
    with pytest.raises(DescriptorError, match=r"'id' is required|JSON object"):
        check_descriptor(document)


@pytest.mark.parametrize("lifecycle", [["/installed"], "/installed", 1, True])
def test_a_lifecycle_that_is_no_object_is_refused(lifecycle: Any) -> None:
    with pytest.raises(DescriptorError, match="'lifecycle' must be an object"):
        check_descriptor({"id": "x", "lifecycle": lifecycle})


@pytest.mark.parametrize(
    "path",
    ["installed", "http://evil.example/in", "//evil.example/in", "/a?b", "/a#b", "/a\\b", "/<x>", "/<path:x>",
     "/é", "/a\nb", "/a\x00", 1, ["/a"], {"a": 1}, True, " /a"],
)  # fmt: skip
def test_a_lifecycle_member_must_be_a_plain_path(path: Any) -> None:
    with pytest.raises(DescriptorError, match=r"'lifecycle\.installed' must be a path"):
        check_descriptor({"id": "x", "lifecycle": {"installed": path}})


def test_two_calls_at_one_path_are_refused() -> None:
    with pytest.raises(DescriptorError, match="one path"):
        check_descriptor({"id": "x", "lifecycle": {"installed": "/a", "uninstalled": "/a"}})


@given(JSON)
def test_any_document_is_taken_or_refused_in_words(document: Any) -> None:
    for candidate in (document, {"id": "x", "lifecycle": document}):
        said = "taken"
        try:
            assert check_descriptor(candidate).id == candidate["id"]
        except DescriptorError as error:
            said = str(error)
        assert said.endswith((".", "taken"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b'{"id": "x"',
        b"[]",
        b'{"id": 7}',
        b'{"id": "x", "a": NaN}',
        b'{"id": "x", "a": 1e999}',
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "connect.json"
    path.write_bytes(content)
    with pytest.raises(DescriptorError) as caught:
        read_descriptor(path)
    assert str(path) in str(caught.value)
    assert "not valid" in str(caught.value)


def test_a_missing_file_is_named_with_the_setting_that_would_name_another(tmp_path: Path) -> None:
    for path in (tmp_path / "no.json", tmp_path, tmp_path / "x" / "y.json"):
        with pytest.raises(DescriptorError) as caught:
            read_descriptor(path)
        assert str(path) in str(caught.value)
        assert "ORBRO_DESCRIPTOR" in str(caught.value)
    assert issubclass(DescriptorError, ConfigurationError)


def test_it_is_served_as_it_stands(make_app: Callable[..., Flask]) -> None:
    response = make_app().test_client().get("/connect.json")
    assert response.json == DESCRIPTOR
    assert response.mimetype == "application/json"


def test_its_place_and_its_url_can_be_chosen(make_app: Callable[..., Flask], tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"id": "other", "lifecycle": {"installed": "/hooks/in"}}))
    orbro = OrbroConnect(descriptor_path=other, descriptor_url="/about.json")
    client = make_app(orbro).test_client()
    assert client.get("/about.json").json["id"] == "other"
    assert client.get("/connect.json").status_code == 404
    assert client.post("/installed").status_code == 404
    assert client.post("/hooks/in").status_code == 415
    assert client.post("/uninstalled").status_code == 404


def test_an_app_without_a_usable_descriptor_does_not_start(settings: dict[str, Any], tmp_path: Path) -> None:
    app = Flask("bare", root_path=str(tmp_path), instance_path=str(tmp_path))
    app.config.update(settings)
    with pytest.raises(DescriptorError, match=r"connect\.json"):
        OrbroConnect(app)
