"""The inbox in its app: handlers run with the organization bound, and commit together with their delivery."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from flask import Flask
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from .announce import announce
from .config import Config
from .context import Caller, set_caller
from .crypto import KeyedHash, derive_key
from .http.event_loop import brief_loops
from .installation import Organization
from .models import Models
from .signals import delivery_dead
from .stores.inbox import InboxStore
from .stores.organization_cache import OrganizationCache
from .stores.transactions import SessionFactory
from .webhooks import (
    Delivery,
    Doorbell,
    Handler,
    Handlers,
    Inbox,
    InlineDoorbell,
    LeaseLost,
    NotCommitted,
    Perform,
    Settle,
    ThreadDoorbell,
    TimeLimitExceeded,
    Worker,
)
from .webhooks.celery_tasks import CeleryDoorbell, make_celery


def make_perform(
    app: Flask,
    sessions: Callable[[], AbstractContextManager[Session]],
    organization_of: Callable[[str], Organization | None],
    current: Callable[[Session], Session] = lambda session: session,
) -> Perform:
    """:param sessions: makes the session of one handler's run, inside of an app context.
    :param current: the session that counts after the run, which began with this one.
    """

    def perform(handler: Handler, delivery: Delivery, settle: Settle) -> None:
        organization = organization_of(delivery.organization_id)
        with app.app_context(), sessions() as session:
            given = replace(delivery, _session=session)
            info = None if organization is None else organization.info
            with set_caller(Caller(organization=info, delivery=given)), brief_loops():
                _finish(handler.function(given), handler.time_limit)
            _commit(_used(session, current(session)), settle)

    return perform


def _used(session: Session, current: Session) -> Session:
    """The session that holds what a handler did, where it has called ``db.session.remove()`` meanwhile."""
    if current is session or not current.in_transaction():
        return session
    if session.in_transaction():
        raise RuntimeError("The handler has worked in two sessions; leave 'db.session' to the worker.")
    return current


def _finish(result: Any, time_limit: float) -> None:
    """Run what a handler has only begun: a coroutine, whether it is async itself or wraps one that is."""
    if inspect.isgenerator(result) or inspect.isasyncgen(result):
        raise TypeError("The handler has returned a generator, which nobody runs.")
    if inspect.isawaitable(result):
        # In this very thread: one that asgiref starts cannot be had while the process ends.
        asyncio.run(_limited(result, time_limit))


async def _limited(work: Awaitable[Any], time_limit: float) -> None:
    try:
        async with asyncio.timeout(time_limit) as limit:
            await work
    except TimeoutError:
        if limit.expired():
            raise TimeLimitExceeded(f"It took longer than {time_limit:g} s.") from None
        raise


def _commit(session: Session, settle: Settle) -> None:
    try:
        if not settle(session):
            session.rollback()
            raise LeaseLost
        session.commit()
    except DBAPIError as error:
        error.hide_parameters = True
        raise NotCommitted(str(error)) from error


def make_inbox(
    app: Flask,
    config: Config,
    *,
    db: Any,
    celery_app: Any,
    sessions: SessionFactory,
    models: Models,
    organizations: OrganizationCache,
    sweep: Callable[[], object],
    clock: Callable[[], float],
) -> Inbox:
    """The inbox of one app.

    :param db: a Flask-SQLAlchemy object, whose session the handlers share.
    :param celery_app: the user's own.
    :param sweep: what else there is to look after from time to time.
    """
    handlers, store = Handlers(), InboxStore(sessions, models)
    perform = make_perform(app, sessions, organizations.get)
    if db is not None:
        perform = make_perform(app, db.session, organizations.get, lambda _: db.session())
    worker = Worker(
        config=config,
        store=store,
        handlers=handlers,
        perform=perform,
        clock=clock,
        dead=lambda delivery, error: announce(app, delivery_dead, delivery=delivery, error=error),
        retry=lambda: inbox.sweeper.wake(),
    )
    doorbell: Doorbell = InlineDoorbell(worker.handle)
    if config.worker == "thread":
        doorbell = ThreadDoorbell(worker.handle, threads=config.worker_threads, drain=config.worker_drain)
    if config.worker == "celery":
        celery_app = celery_app or make_celery(config, app.name)
        doorbell = CeleryDoorbell(
            celery_app, config, handle=worker.handle, sweep=lambda: (sweep(), inbox.sweep())
        )
    inbox = Inbox(
        config=config,
        store=store,
        handlers=handlers,
        worker=worker,
        doorbell=doorbell,
        digest=KeyedHash(derive_key(config.client_secret, "delivery")),
        clock=clock,
        celery_app=celery_app if config.worker == "celery" else None,
    )
    return inbox
