"""``python -m benchmarks organizations``: what a webhook costs beside one taken by hand, and what looking
its organization up costs among a thousand and among a million.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

import jwt
from flask import Flask
from sqlalchemy import Engine, NullPool, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import sessionmaker

from flask_orbro import OrbroConnect
from flask_orbro.checks import keys as keys_of
from flask_orbro.crypto import KeyRing, new_key
from flask_orbro.identity import Presented
from flask_orbro.models import own_models
from flask_orbro.state import OrbroState, get_state
from flask_orbro.stores.records import organization_place

from .compare import DESCRIPTOR
from .errors import BenchmarkError
from .figures import Book, main_table, table
from .load import Load
from .options import Options
from .processes import Children, Cores, free_port, gunicorn
from .runner import Run, Server, heading, progress, run_rounds
from .scenarios import ORGANIZATION_ID, OURS, WEBHOOK, Requests

BY_HAND = "by hand: PyJWT, a dict"
FEW, MANY = 1_000, 1_000_000
#: Look-ups of each kind among each number, in each round.
LOOK_UPS = 2_000
SECRET = "s" * 43
SERVER = os.environ.get("BENCHMARK_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1:5432/")
COLUMNS = (
    "organization_id", "shared_secret", "subdomain", "bound_subdomain", "installed_user_id", "state",
    "proven_at", "binding_proven_at",
)  # fmt: skip


def run(options: Options) -> str:
    """Measure, and end all that was started.

    :returns: the report.
    :raises BenchmarkError: it cannot be measured.
    """
    cores = Cores()
    load = Load(connections=options.connections, cores=cores.load, tool=options.driver)
    with TemporaryDirectory(prefix="orbro-benchmark-") as name:
        with Children(Path(name)) as children:
            book = _side_by_side(Path(name), children, cores, load, options)
        figures = _look_ups(Path(name), options.plan.rounds)
    title = f"A webhook, gunicorn, one worker, {options.threads} threads"
    head = heading(title, options.plan, load, cores, options.connections)
    ratio = book.cpu_ratio((OURS, WEBHOOK), (BY_HAND, WEBHOOK)) or 0
    return (
        f"{head}\n\n{main_table(book)}\n\n"
        f"A webhook costs {ratio:.2f} times the CPU of one taken by hand (target: at most 1.25).\n\n"
        f"Looking an organization up in PostgreSQL, {LOOK_UPS} times a round, one thread, nothing cached:\n\n"
        f"{_look_up_table(figures)}\n"
    )


def _side_by_side(folder: Path, children: Children, cores: Cores, load: Load, options: Options) -> Book:
    requests = Requests("orbro.localhost", SECRET)
    environment = {
        "BENCHMARK_FOLDER": str(folder),
        "BENCHMARK_ORGANIZATION": ORGANIZATION_ID,
        "BENCHMARK_SECRET": SECRET,
        "FLASK_ORBRO_CLIENT_ID": "benchmark",
        "FLASK_ORBRO_CLIENT_SECRET": secrets.token_urlsafe(32),
        # There is no platform that could prove anything.
        "FLASK_ORBRO_INSTALL_PROOF": "none",
    }
    (folder / "connect.json").write_text(json.dumps(DESCRIPTOR))

    def start(name: str, factory: str) -> Server:
        port = free_port()
        progress(f"starting {name}")
        argv = gunicorn(f"benchmarks.servers.{factory}:create_app()", port, threads=options.threads)
        pid = children.start(factory, argv, environment=environment, cores=cores.server)
        children.wait_for(f"http://127.0.0.1:{port}/bare")
        return Server(name, pid, port)

    ours, by_hand = start(OURS, "ours"), start(BY_HAND, "webhook_by_hand")
    Load(connections=1, cores=None).once(ours.port, requests.install())
    runs = [Run(server, WEBHOOK, requests.webhook()) for server in (ours, by_hand)]
    return run_rounds(options.plan, runs, load=load, children=children)


#: Seconds of every look-up of a round, by kind and number of organizations.
Times = dict[tuple[str, int], list[list[float]]]
#: Makes a look-up ready; what it returns is what is timed.
LookUp = Callable[[OrbroState, str], Callable[[], Any]]


def _look_ups(folder: Path, rounds: int) -> Times:
    times: Times = defaultdict(list)
    with _filled(folder, FEW) as few, _filled(folder, MANY) as many:
        for number in range(rounds):
            progress(f"looking up, round {number + 1} of {rounds}")
            for count, state in ((FEW, few), (MANY, many)):
                for kind, look_up in (("row", _find), ("verified webhook", _verify)):
                    ids = [_id(random.randrange(count)) for _ in range(LOOK_UPS)]
                    times[kind, count].append(_timed(state, look_up, ids))
    return times


def _timed(
    state: OrbroState, look_up: Callable[[OrbroState, str], Callable[[], Any]], ids: list[str]
) -> list[float]:
    found = []
    for organization_id in ids:
        ready = look_up(state, organization_id)
        began = time.perf_counter()
        ready()
        found.append(time.perf_counter() - began)
    return found


def _find(state: OrbroState, organization_id: str) -> Callable[[], Any]:
    return lambda: state.organizations.get(organization_id)


def _verify(state: OrbroState, organization_id: str) -> Callable[[], Any]:
    claims = {
        "issued_by": "meta-platform-webhook",
        "sub": f"organizationId:{organization_id}",
        "exp": int(time.time()) + 60,
    }
    presented = Presented(f"Bearer {jwt.encode(claims, SECRET)}")
    return lambda: state.webhooks.verify(presented)


def _look_up_table(times: Times) -> str:
    lines = []
    for kind in ("row", "verified webhook"):
        few, many = times[kind, FEW], times[kind, MANY]
        for name, part in (("p50", 50), ("p99", 99)):
            ones, others = ([_percentile(found, part) for found in rounds] for rounds in (few, many))
            ratio = median(other / one for one, other in zip(ones, others, strict=True))
            written = [f"{median(found) * 1e6:,.0f}" for found in (ones, others)]
            lines.append((kind, name, *written, f"{ratio:.2f}"))
    head = ("look-up", "", f"among {FEW:,} (µs)", f"among {MANY:,} (µs)", "times (target: 1.5)")
    return table(head, lines)


def _percentile(found: list[float], part: int) -> float:
    return quantiles(found, n=100)[part - 1]


def _id(number: int) -> str:
    return f"8a6e0804-2bd0-4672-b79d-{number:012d}"


@contextmanager
def _filled(folder: Path, count: int) -> Iterator[OrbroState]:
    """An app over a PostgreSQL database of its own with so many organizations."""
    name = f"orbro_benchmark_{count}_{secrets.token_hex(4)}"
    server = create_engine(SERVER, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    try:
        with server.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
    except SQLAlchemyError as error:
        raise BenchmarkError(f"PostgreSQL is needed at {SERVER}: {error}") from None
    key = new_key()
    engine = create_engine(SERVER + name)
    try:
        _fill(engine, count, key)
        app = Flask(name, root_path=str(folder), instance_path=str(folder))
        app.config.update(
            ORBRO_CLIENT_ID="benchmark",
            ORBRO_CLIENT_SECRET="c" * 40,
            ORBRO_ENCRYPTION_KEYS=key,
            ORBRO_ORGANIZATION_TTL=0,
            ORBRO_SWEEPER=False,
        )
        OrbroConnect(app, db_session_maker=sessionmaker(engine))
        yield get_state(app)
        get_state(app).close()
    finally:
        engine.dispose()
        with server.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def _fill(engine: Engine, count: int, key: str) -> None:
    progress(f"writing {count:,} organizations")
    models = own_models()
    models.client_info.metadata.create_all(engine, tables=models.tables)
    keys, now = KeyRing(keys_of(key)), time.time()
    connection = engine.raw_connection()
    try:
        driver: Any = connection.driver_connection
        copying = f"COPY connect_app_client_info ({', '.join(COLUMNS)}) FROM STDIN"
        with driver.cursor() as cursor, cursor.copy(copying) as copy:
            for number in range(count):
                organization_id, subdomain = _id(number), f"s{number}"
                secret = keys.encrypt(SECRET, organization_place(organization_id, "shared_secret"))
                copy.write_row(
                    (organization_id, secret, subdomain, subdomain, f"u{number}", "active", now, now)
                )
        driver.commit()
        driver.autocommit = True
        driver.execute("VACUUM ANALYZE connect_app_client_info")
        driver.autocommit = False
    finally:
        connection.close()
