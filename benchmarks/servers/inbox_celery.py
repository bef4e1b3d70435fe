"""For Celery, which wants an object: ``celery -A benchmarks.servers.inbox_celery worker``."""

from __future__ import annotations

from .inbox import create_celery

app = create_celery()
app.conf.worker_enable_remote_control = False
