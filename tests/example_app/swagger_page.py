"""Swagger UI in a browser, used as a person uses it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Locator, Page, Request, expect


class SwaggerPage:
    """Opens ``/docs`` and watches what happens there.

    :param url: of the app.
    """

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        #: What the page complained about, beside the refusals that were asked for.
        self.complaints: list[str] = []
        #: Requests to anybody but the app.
        self.foreign: list[str] = []
        self._refused: set[str] = set()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda request: self.complaints.append(f"{request.url} failed"))
        page.on("request", self._see)
        page.goto(f"{url}/docs")
        expect(page.locator(".opblock-tag").first).to_be_visible()

    def authorize(self, name: str, *values: str) -> None:
        """Fill in one of the credentials under *Authorize*: a token, or a user and a password."""
        self.open_dialog()
        form = self.form(name)
        for field, value in zip(form.locator("input").all(), values, strict=True):
            field.fill(value)
        form.locator("button.authorize").click()
        expect(form.get_by_role("button", name="Logout")).to_be_visible()
        self.page.locator(".dialog-ux .close-modal").click()

    def open_dialog(self) -> None:
        self.page.locator("button.authorize").first.click()

    def form(self, name: str) -> Locator:
        """Of one credential in the dialog."""
        heading = self.page.get_by_role("heading", name=name)
        return self.page.locator(".dialog-ux .auth-container").filter(has=heading)

    def operation(self, method: str, path: str) -> Locator:
        """Its block, opened and ready to be tried out."""
        block = self.page.locator(f".opblock-{method.lower()}").filter(
            has=self.page.locator(f'.opblock-summary-path[data-path="{path}"]')
        )
        closed = self.page.locator('.opblock-tag[data-is-open="false"]')
        while closed.count():
            closed.first.click()
        if "is-open" not in (block.get_attribute("class") or ""):
            block.locator(".opblock-summary-control").click()
        if block.locator(".execute").count() == 0:
            block.locator(".try-out__btn").click()
        return block

    def try_out(
        self, method: str, path: str, status: int, body: Any = None, **parameters: str
    ) -> dict[str, Any]:
        """*Try it out* and *Execute*, and see the status.

        :returns: the document that is answered, as the page shows it.
        """
        block = self.operation(method, path)
        if body is not None:
            block.locator("textarea.body-param__text").fill(json.dumps(body))
        if (clear := block.locator(".btn-clear")).count():
            clear.click()  # else the answer before this one is what is found first
        for name, value in parameters.items():
            block.locator(f'tr[data-param-name="{name}"] input').fill(value)
        with self.page.expect_response(lambda answer: answer.request.method == method) as waiting:
            if status >= 400:
                self._refused.add(path)
            block.locator(".execute").click()
        shown = block.locator(".live-responses-table tbody .response-col_status")
        expect(shown).to_contain_text(str(status))
        assert waiting.value.status == status
        text = block.locator(".live-responses-table .microlight").first.inner_text()
        found: dict[str, Any] = json.loads(text)
        return found

    def check(self) -> None:
        """Nothing was complained about, and nobody else was asked."""
        assert (self.complaints, self.foreign) == ([], [])

    def _hear(self, message: ConsoleMessage) -> None:
        path = urlsplit(message.location.get("url", "")).path
        asked_for = message.text.startswith("Failed to load resource") and path in self._refused
        if message.type in ("error", "warning") and not asked_for:
            self.complaints.append(message.text)

    def _see(self, request: Request) -> None:
        if not request.url.startswith((f"{self.url}/", "data:")):
            self.foreign.append(request.url)
