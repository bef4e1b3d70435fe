"""Swagger UI in a real browser: every credential, and the tutorial.

``ORBRO_TEST_IMAGES=1`` writes the pictures of the README anew.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Locator, Page, expect

from flask_orbro.simulator import SimulatorServer

from ..conftest import CLIENT_ID
from .conftest import PROJECT
from .people import PASSWORD
from .swagger_page import SwaggerPage
from .test_backends import stand_ins

IMAGES = PROJECT / "docs" / "images"
ADA = {"user_id": "ada", "user_email": "ada@example.com", "user_password": PASSWORD}
CREDENTIALS = {
    "orbroUser": ("GET", "/platform/me"),
    "orbroConnectApp": ("GET", "/platform/app"),
    "orbroOpenApi": ("GET", "/platform/open"),
    "orbroWebhook": ("POST", "/webhook/device"),
    "bearer": ("GET", "/tests/secret"),
    "entra": ("GET", "/graph/profile"),
    "Basic authorization": ("POST", "/user/auth"),
}


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """The system's own Chromium: none is downloaded."""
    chromium = shutil.which("chromium")
    if chromium is None:
        reason = "Chromium is not installed (Debian: the package 'chromium')"
        if os.environ.get("ORBRO_TEST_SERVICES") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
    quiet += ["--disable-component-update", "--disable-sync"]
    if os.geteuid() == 0:
        quiet.append("--no-sandbox")
    return browser_type_launch_args | {"executable_path": chromium, "args": quiet}


@pytest.fixture(scope="session")
def base_url() -> None:
    """None: each app has its own. The plugin's fixture of this name is written as pytest 10 forbids."""


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    return browser_context_args | {"viewport": {"width": 1000, "height": 760}}


@pytest.fixture
def docs(
    page: Page,
    make_example: Callable[..., Flask],
    serving: Callable[[Flask], str],
    simulator: SimulatorServer,
) -> Iterator[SwaggerPage]:
    """Of an app that ``acme`` has installed."""
    url = serving(make_example(**stand_ins(simulator)))
    assert simulator.platform.install(url, "acme", client_id=CLIENT_ID).ok
    docs = SwaggerPage(page, url)
    yield docs
    docs.check()


def picture(what: Page | Locator, name: str) -> None:
    if os.environ.get("ORBRO_TEST_IMAGES"):
        IMAGES.mkdir(parents=True, exist_ok=True)
        what.screenshot(path=IMAGES / f"{name}.png", animations="disabled")


def test_the_page_shows_every_part_of_the_app(docs: SwaggerPage) -> None:
    tags = docs.page.locator(".opblock-tag").all()
    assert {"users", "sessions", "posts", "platform", "webhooks", "lifecycle"} <= {
        str(tag.get_attribute("data-tag")) for tag in tags
    }
    picture(docs.page, "swagger-ui")


def test_authorize_explains_every_credential(docs: SwaggerPage) -> None:
    docs.open_dialog()
    for name in CREDENTIALS:
        assert len(docs.form(name).locator(".markdown").inner_text().split()) > 8
    docs.form("bearer").evaluate("form => form.scrollIntoView()")
    picture(docs.page, "authorize")


@pytest.mark.parametrize("name", CREDENTIALS)
def test_each_credential_is_refused_without_and_accepted_with(
    docs: SwaggerPage, simulator: SimulatorServer, name: str
) -> None:
    method, path = CREDENTIALS[name]
    docs.try_out("POST", "/users", 201, ADA)
    named = {"sub": "acme"} if name in ("orbroUser", "orbroConnectApp") else {}
    # Basic counts before the body, in which the page has put its example.
    assert docs.try_out(method, path, 401, **named)["title"] == "Unauthorized"
    if name == "Basic authorization":
        docs.authorize(name, "ada", PASSWORD)
    elif name == "bearer":
        body = {"user_id": "ada", "user_password": PASSWORD}
        docs.authorize(name, "Bearer " + docs.try_out("POST", "/user/auth", 200, body)["access_token"])
    else:
        docs.authorize(name, pasted(docs.page, simulator, name))
    assert docs.try_out(method, path, 200, **named)
    if name == "orbroUser":
        picture(docs.operation(method, path).locator(".responses-inner > div > div").first, "platform-me")


def pasted(page: Page, simulator: SimulatorServer, name: str) -> str:
    """What a developer copies from the simulator's page of tokens."""
    with page.context.new_page() as tokens:
        tokens.goto(f"{simulator.url}/simulator/tokens")
        expect(tokens.get_by_text("For development only")).to_be_visible()
        tokens.set_viewport_size({"width": 1000, "height": 460})
        picture(tokens, "tokens")
        tokens.locator(f"#{name}").click()
        selected: str = tokens.evaluate("window.getSelection().toString()")

    assert selected.startswith("Bearer ey")
    return selected


def test_register_log_in_post_and_read_through_the_page(docs: SwaggerPage) -> None:
    docs.try_out("POST", "/users", 201, ADA)
    docs.try_out("POST", "/users", 409, ADA)
    docs.try_out("POST", "/user/auth", 401, {"user_id": "ada", "user_password": "not hers"})
    tokens = docs.try_out("POST", "/user/auth", 200, {"user_id": "ada", "user_password": PASSWORD})
    post = {"author_id": "ada", "title": "Notes by the translator", "body": "The engine weaves patterns."}
    docs.try_out("POST", "/posts", 401, post)
    docs.authorize("bearer", f"Bearer {tokens['access_token']}")
    written = docs.try_out("POST", "/posts", 201, post)
    assert written == post | {"id": written["id"]}
    picture(docs.operation("POST", "/posts").locator(".responses-inner > div > div").first, "post-posts")
    assert docs.try_out("GET", "/post/{id}", 200, id=str(written["id"])) == written
    assert docs.try_out("GET", "/posts", 200)["items"] == [written]
    docs.try_out("PUT", "/post/{id}", 200, post | {"title": "Changed"}, id=str(written["id"]))
    assert docs.try_out("GET", "/posts", 200)["items"][0]["title"] == "Changed"


def test_the_pictures_are_there_and_small() -> None:
    readme = Path(PROJECT / "README.md").read_text()
    pictures = sorted(IMAGES.glob("*.png"))
    assert len(pictures) >= 4
    for path in pictures:
        assert f"docs/images/{path.name}" in readme
        assert path.stat().st_size < 150_000
