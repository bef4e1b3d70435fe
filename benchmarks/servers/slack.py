"""slack-bolt in its Flask adapter. Runs in a virtual environment that has nothing of ours."""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import os
from typing import Any

from flask import Flask, request
from slack_bolt import App
from slack_bolt.adapter.flask import SlackRequestHandler
from slack_bolt.authorization import AuthorizeResult


def create_app() -> Flask:
    """The app: requests are verified, and handed to a listener that does nothing."""
    # Nobody is asked whom the event is from: what is measured is the verification and the way to the view.
    bolt: Any = App(
        signing_secret=os.environ["BENCHMARK_SLACK_SECRET"],
        authorize=lambda **_: AuthorizeResult(enterprise_id=None, team_id="T1", bot_token="xoxb-none"),
        process_before_response=True,
        ignoring_self_events_enabled=False,
        ssl_check_enabled=False,
        url_verification_enabled=False,
    )

    @bolt.event("device_updated")  # type: ignore[untyped-decorator]
    def handle(event: Any) -> None:
        pass

    handler = SlackRequestHandler(bolt)
    app = Flask(__name__)

    @app.get("/bare")
    def bare() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/slack/events")
    def events() -> Any:
        return handler.handle(request)

    return app
