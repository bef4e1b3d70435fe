"""``flask orbro deliveries …`` and ``worker``: look into the inbox, and work it off."""

from __future__ import annotations

import json
import math
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
from flask.cli import with_appcontext

from ..logs import get_logger
from ..state import get_state
from ..stores.delivery_record import DeliveryRecord, DeliveryState
from ..webhooks import Doorbell, Inbox, ThreadDoorbell

logger = get_logger(__name__)

#: How often a worker process looks for what is due, in seconds.
POLL = 0.5
#: The same after it could not, in seconds.
AFTER_FAILURE = 2.0
#: How long a command waits for the broker, in seconds.
BROKER_PATIENCE = 10.0
_PAGE = 500
#: What the database can count to.
_ID = click.IntRange(1, 2**63 - 1)
_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


@click.group("deliveries", invoke_without_command=True)
@click.option("--state", type=click.Choice([state.value for state in DeliveryState]))
@click.option("--organization", "organization_id", help="Its id.")
@click.option("--unhandled", is_flag=True, help="Those that are done because no handler took them.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@_json
@click.pass_context
@with_appcontext
def deliveries(
    context: click.Context,
    state: str | None,
    organization_id: str | None,
    unhandled: bool,
    limit: int,
    as_json: bool,
) -> None:
    """List what is in the inbox, newest first, or see to one of it."""
    if context.invoked_subcommand is not None:
        return
    if unhandled and state not in (None, DeliveryState.DONE.value):
        raise click.UsageError(
            f"What no handler took is done, not {state}: leave out --unhandled, or --state {state}."
        )
    wanted = {"state": state and DeliveryState(state), "organization_id": organization_id}
    for record in _pages(**wanted, unhandled=unhandled, limit=limit):
        click.echo(json.dumps(_shown(record)) if as_json else _line(record))


@deliveries.command("show")
@click.argument("delivery_id", type=_ID)
@_json
@with_appcontext
def show(delivery_id: int, as_json: bool) -> None:
    """Show one delivery with its payload and its headers."""
    record = _get(get_state().inbox, delivery_id)
    shown = _shown(record) | {"headers": dict(record.headers), "payload": _payload(record)}
    if as_json:
        click.echo(json.dumps(shown))
        return
    for name, value in shown.items():
        text = json.dumps(value, indent=2) if isinstance(value, dict | list) else _printable(value)
        click.echo(f"{name}: {text}")


@deliveries.command("redeliver")
@click.argument("delivery_id", type=_ID, required=False)
@click.option("--all-dead", is_flag=True, help="Everything that was given up.")
@click.option("--new-handlers", is_flag=True, help="Only by handlers that are not done with it.")
@with_appcontext
def redeliver(delivery_id: int | None, all_dead: bool, new_handlers: bool) -> None:
    """Handle a delivery again: by the handlers that gave it up, or by all where none did."""
    inbox = get_state().inbox
    if (delivery_id is None) is not all_dead:
        raise click.UsageError("Give an ID, or --all-dead.")
    if delivery_id is not None:
        record = _get(inbox, delivery_id)
        if record.path not in inbox.handlers:
            raise click.ClickException(
                f"No handler is registered at {record.path}: its view handles what the platform sends again."
            )
    ids = _dead_ids(inbox) if delivery_id is None else iter([delivery_id])
    length = inbox.store.count(DeliveryState.DEAD) if delivery_id is None else 1
    came_to: Counter[str] = Counter()
    bell, is_told = _bell(inbox, came_to), True
    with click.progressbar(ids, length=length, label="Redelivering", file=sys.stderr) as progress:
        for number in progress:
            if not inbox.store.redeliver(number, now=time.time(), unfinished=new_handlers):
                came_to["being handled by somebody else"] += 1
            elif is_told := is_told and _wait_for_room(inbox, lambda: bell.room):
                bell.ring(number)
    _finish(inbox, bell, came_to, is_told)


@click.command("worker")
@click.option("--threads", type=click.IntRange(1, 256), default=8, show_default=True)
@with_appcontext
def worker(threads: int) -> None:
    """Work the inbox, and nothing else, until Ctrl-C or SIGTERM."""
    state = get_state()
    inbox, stop = state.inbox, threading.Event()
    if not inbox.handlers:
        raise click.ClickException("This app has no handlers: nothing is registered with 'orbro.on'.")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    bell = ThreadDoorbell(inbox.worker.handle, threads=threads, drain=state.config.worker_drain)
    inbox.sweeper.stop()  # it would ring the app's own
    click.echo(f"Working the inbox with {threads} threads. Ctrl-C ends it.")
    while not stop.is_set():
        stop.wait(POLL if _try_to_sweep(inbox, bell) else AFTER_FAILURE)
    click.echo("Finishing what is under way.")
    bell.close(state.config.worker_drain)


def sweep_inbox() -> None:
    """Handle everything that is due, or tell Celery of it, and drop what is old."""
    inbox = get_state().inbox
    if not inbox.handlers:
        inbox.retain()  # what views have kept
        return
    came_to: Counter[str] = Counter()
    bell, is_told = _bell(inbox, came_to), True
    inbox.sweep(bell)
    while (due := inbox.store.next_due()) is not None and due <= time.time():
        click.echo(".", nl=False, err=True)
        time.sleep(0.05)
        if not (is_told := _wait_for_room(inbox, lambda: bell.room_for_sweep)):
            break
        inbox.sweep(bell)
    _finish(inbox, bell, came_to, is_told)


def _try_to_sweep(inbox: Inbox, bell: Doorbell) -> bool:
    try:
        inbox.sweep(bell)
    except Exception as error:
        logger.warning("The inbox cannot be swept now; it is tried again: %s", error)
        return False
    return True


def _bell(inbox: Inbox, came_to: Counter[str]) -> Doorbell:
    """Handles in this process and counts what came of it; with Celery it tells Celery."""
    inbox.sweeper.stop()  # what is to be tried again is not this command's
    if inbox.celery_app is not None:
        return inbox.doorbell

    def handle(delivery_id: int) -> None:
        state = inbox.worker.handle(delivery_id)
        came_to["being handled by somebody else" if state is None else state.value] += 1

    return ThreadDoorbell(handle, threads=max(1, get_state().config.worker_threads), drain=0)


def _wait_for_room(inbox: Inbox, room: Callable[[], int]) -> bool:
    """:returns: whether there is any: for a broker's it is not waited for long."""
    deadline = time.monotonic() + (math.inf if inbox.celery_app is None else BROKER_PATIENCE)
    while room() <= 0:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _finish(inbox: Inbox, bell: Doorbell, came_to: Counter[str], is_told: bool) -> None:
    at_celery = inbox.celery_app is not None
    is_told = bell.close(BROKER_PATIENCE if at_celery else threading.TIMEOUT_MAX / 2) and is_told
    for state, count in sorted(came_to.items()):
        click.echo(f"{count} {'delivery is' if count == 1 else 'deliveries are'} {state}.")
    if not is_told:
        raise click.ClickException(
            "The broker is out of reach, or its queue is full. "
            "Nothing is lost: the deliveries are handled once that is over."
        )
    if at_celery:
        click.echo("Celery is told.")


def _dead_ids(inbox: Inbox) -> Iterator[int]:
    for record in _pages(state=DeliveryState.DEAD, limit=sys.maxsize):
        if record.path in inbox.handlers:
            yield record.id


def _pages(*, limit: int, **wanted: Any) -> Iterator[DeliveryRecord]:
    store, before = get_state().inbox.store, None
    while limit > 0:
        page = store.find(**wanted, before=before, limit=min(limit, _PAGE))
        yield from page
        if len(page) < _PAGE:
            return
        limit, before = limit - len(page), page[-1].id


def _get(inbox: Inbox, delivery_id: int) -> DeliveryRecord:
    record = inbox.store.get(delivery_id)
    if record is None:
        raise click.ClickException(f"There is no delivery {delivery_id}.")
    return record


def _shown(record: DeliveryRecord) -> dict[str, Any]:
    hidden = ("payload", "headers", "digest")
    shown = {name: value for name, value in asdict(record).items() if name not in hidden}
    return shown | {
        "received_at": _time(record.received_at),
        "next_attempt_at": _time(record.next_attempt_at),
        "progress": dict(record.progress),
    }


def _payload(record: DeliveryRecord) -> Any:
    try:
        return json.loads(record.payload)
    except ValueError:
        return repr(record.payload)


def _line(record: DeliveryRecord) -> str:
    error = "" if record.last_error is None else "  " + _printable(record.last_error)[:80]
    return (
        f"{record.id:>8}  {_time(record.received_at)}  {record.state.value:<10} {record.organization_id}  "
        f"{record.event or '-'}  {record.attempts} attempts{error}"
    )


def _printable(value: Any) -> str:
    """What nobody has checked, fit for a terminal and for one line."""
    text = "-" if value is None else str(value)
    return "".join(c if c.isprintable() else " " for c in text)


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
