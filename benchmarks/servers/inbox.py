"""An app with one handler, and its Celery app: what the benchmarks of the inbox put under load."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import Column, Engine, Integer, MetaData, Table, create_engine, event, insert
from sqlalchemy.orm import sessionmaker

from flask_orbro import Delivery, OrbroConnect

PATH, EVENT = "/webhook/events", "benchmark:event"
#: One row for each time that a handler's effect was committed; nothing keeps it from being there twice.
effects = Table(
    "benchmark_effect",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("number", Integer, index=True),
)
counts: Counter[str] = Counter()


@event.listens_for(Engine, "before_cursor_execute")
def _count_statement(*_: Any) -> None:
    counts["statements"] += 1


@event.listens_for(Engine, "commit")
def _count_commit(*_: Any) -> None:
    counts["commits"] += 1


def create_app() -> Flask:
    """The app. ``BENCHMARK_FOLDER`` is its instance folder, ``BENCHMARK_DATABASE`` a URL, or empty for the
    library's own SQLite; its handler takes ``BENCHMARK_SLEEP`` seconds.
    """
    folder, url = os.environ["BENCHMARK_FOLDER"], os.environ["BENCHMARK_DATABASE"]
    sleep = float(os.environ["BENCHMARK_SLEEP"])
    Path(folder, "connect.json").write_text(json.dumps({"id": "benchmark"}))
    app = Flask(__name__, root_path=folder, instance_path=folder)
    app.config.from_prefixed_env()
    sessions = sessionmaker(create_engine(url, pool_size=40)) if url else None
    orbro = OrbroConnect(app, db_session_maker=sessions)

    @orbro.on(EVENT, path=PATH, time_limit=10 * sleep + 1)
    def handle(delivery: Delivery) -> None:
        if sleep:
            time.sleep(sleep)
        delivery.session.execute(insert(effects).values(number=int(delivery.payload["number"])))

    @app.get("/bare")
    def bare() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/benchmark/counts")
    def told() -> dict[str, int]:
        return dict(counts)

    return app


def create_celery() -> Any:
    """The Celery app: ``celery -A benchmarks.servers.inbox_celery worker``."""
    with create_app().app_context() as context:
        return context.app.extensions["orbro"].inbox.celery_app
