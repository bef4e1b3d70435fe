"""Many calls at once, forged or genuine: what is bounded, and what is held meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import DeclarativeBase, sessionmaker
from sqlalchemy.pool import QueuePool

from flask_orbro import ConnectAppClaimMixin, ConnectAppClientInfoMixin, OrbroConnect
from flask_orbro.installs.proof import AT_ONCE
from flask_orbro.protocol import CONNECT_PATH, USER_PATH
from flask_orbro.schedule import NEEDED_GAP

from ..conftest import bearer
from ..lifecycle_world import MakeWorld, World, make_world_fixture, world_fixture  # noqa: F401
from ..test_webhook_token import signed


def at_once(count: int, call: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(call, range(count)))


def test_at_most_two_proofs_run_at_once_and_the_others_do_not_wait(world: World) -> None:
    world.platform.faults.set(CONNECT_PATH, delay=2)

    def forge(number: int) -> float:
        start = time.monotonic()
        assert world.forge(organization_id=f"o{number}").status_code == 200
        return time.monotonic() - start

    took = sorted(at_once(8, forge))
    assert world.platform.counts[CONNECT_PATH] == 2
    assert took[5] < 2
    assert world.waiting == 8


def test_what_one_claim_needs_is_asked_once_for_all_who_need_it(world: World) -> None:
    world.install(activate="after")
    asked = world.platform.counts[CONNECT_PATH]
    world.platform.faults.set(CONNECT_PATH, delay=0.3)
    # One asks; the others are told to come again rather than hold a thread each.
    statuses = at_once(6, lambda _: world.webhook())
    assert 200 in statuses
    assert set(statuses) <= {200, 503}
    assert world.platform.counts[CONNECT_PATH] == asked + 1
    assert world.webhook() == 200


def test_a_flood_of_forged_installs_is_bounded_and_a_genuine_one_gets_through(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_MAX_WAITING_CLAIMS=20, ORBRO_MAX_CLAIMS_PER_ORGANIZATION=4)
    world.install(subdomain="other")  # the platform has to know the subdomain to refuse anything

    def flood(number: int) -> int:
        subdomain = "other" if number % 2 else "acme"
        return world.forge(
            organization_id=world.organization_id if number % 3 else f"o{number}",
            shared_secret=f"{number:040}",
            subdomain=subdomain,
        ).status_code

    for _ in range(3):
        assert set(at_once(30, flood)) <= {200, 503}
    assert world.waiting <= 20
    assert len(world.state.claims.of_organization(world.organization_id)) <= 4
    for _ in range(3):
        world.sweep(after=5)
    for activate in ("before", "after"):
        assert world.install(activate=activate).status == 200
        world.sweep(after=5)
        secret = world.platform.installation("acme", world.url).shared_secret
        assert world.stored is not None
        assert world.stored.shared_secret == secret
    assert world.me() == 200


def test_claims_that_were_asked_about_in_vain_make_room(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_MAX_WAITING_CLAIMS=2)
    world.platform.faults.set(status=500, organization="nobody-knows")
    for number in range(4):
        assert world.forge(organization_id=f"o{number}", subdomain="nobody-knows").status_code == 200
    assert world.waiting == 2
    assert world.install(activate="after").status == 200
    world.sweep(after=2)
    assert world.me() == 200


def test_while_the_platform_hangs_a_full_house_holds_few_threads(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_MAX_CLAIMS_PER_ORGANIZATION=4, ORBRO_PROOF_TIMEOUT=3)
    world.platform.faults.set(CONNECT_PATH, delay=6)

    def forge(number: int) -> tuple[float, int, str | None]:
        body = {"organization_id": world.organization_id, "subdomain": "acme"}
        start = time.monotonic()
        answer = httpx2.post(
            f"{world.url}/installed", json=body | {"shared_secret": f"{number:040}"}, timeout=60
        )
        return time.monotonic() - start, answer.status_code, answer.headers.get("Retry-After")

    at_once(2, forge)  # by these it is known
    answers = at_once(16, lambda number: forge(number + 2))
    assert sum(took >= 3 for took, *_ in answers) <= AT_ONCE
    refused = [answer for answer in answers if answer[1:] == (503, "60")]
    assert len(refused) >= 16 - 4
    world.platform.faults.clear()
    assert world.install().status == 200
    assert world.me() == 200


def test_an_install_that_came_first_outlasts_an_outage_and_a_flood(world: World) -> None:
    world.platform.faults.set(CONNECT_PATH, status=500)
    assert world.install().status == 200
    for number in range(20):
        assert world.forge(shared_secret=f"{number:040}").status_code == 200
    world.platform.faults.clear()
    world.sweep(after=60)
    assert world.me() == 200


def test_fresh_forgeries_do_not_crowd_out_the_claim_that_a_user_needs(world: World) -> None:
    world.platform.faults.set(CONNECT_PATH, status=401, body={"error_code": "INVALID"})
    assert world.install().status == 200
    for _ in range(6):
        world.sweep(after=61)
    world.platform.faults.clear()
    for number in range(4):
        world.forge(organization_id=f"o{number}", shared_secret=f"{number:040}")
    world.clock.ahead += NEEDED_GAP + 1
    assert world.me() == 200


@pytest.mark.parametrize("beginning", ["ssh-rsa", "ssh-ed25519", "ecdsa-sha2-nistp256"])
def test_a_secret_that_cannot_sign_is_refused_and_not_kept(world: World, beginning: str) -> None:
    refused = world.forge(shared_secret=beginning + "B" * 60)
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["shared_secret"])
    assert world.waiting == 0


def test_installs_that_nobody_can_ask_about_do_not_keep_a_genuine_one_out(
    make_world: MakeWorld,
) -> None:
    world = make_world(ORBRO_MAX_WAITING_CLAIMS=5, ORBRO_MAX_CLAIMS_PER_ORGANIZATION=3)
    for number in range(10):
        assert world.forge(organization_id=f"o{number}", subdomain=None).status_code == 200
        assert world.forge(shared_secret=f"{number:040}", subdomain=None).status_code == 200
    assert world.waiting == 5
    assert world.install(activate="after").status == 200
    world.sweep(after=2)
    assert world.me() == 200


def test_claims_of_organizations_that_the_platform_does_not_know_make_room(
    make_world: MakeWorld,
) -> None:
    world = make_world(ORBRO_MAX_CLAIMS_PER_ORGANIZATION=3)
    for number in range(6):
        forged = world.forge(shared_secret=f"{number:040}", subdomain="nobody-knows")
        assert forged.status_code == 200
    assert world.waiting == 3
    assert world.install(activate="after").status == 200
    world.sweep(after=2)
    assert world.me() == 200


def test_a_webhook_that_a_forged_claim_signed_changes_nothing(world: World) -> None:
    world.install()
    before = world.stored
    world.forge()
    claims = {"issued_by": "meta-platform-webhook", "sub": f"organizationId:{world.organization_id}"}
    token = signed(claims | {"exp": time.time() + 60}, "f" * 40)
    asked = world.platform.counts[CONNECT_PATH]
    for _ in range(5):
        assert world.webhook(token=token) == 401
    assert world.platform.counts[CONNECT_PATH] == asked + 1
    world.clock.ahead += NEEDED_GAP
    world.platform.faults.set(CONNECT_PATH, status=500)
    assert world.webhook(token=token) == 503
    assert world.webhook() == 200
    assert world.stored == before


def test_forged_installs_do_not_hold_up_a_call_that_the_platform_refuses(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_PROOF_TIMEOUT=0.5)
    world.install()
    for number in range(6):
        world.forge(shared_secret=f"{number:040}")

    def call() -> int:
        with world.app.app_context():
            client = world.state.platform.client_for(world.organization_id)
            return client.get("/api/v1/users").status_code

    world.platform.faults.set("/api/v1/users", status=401, body={"error_code": "INVALID"})
    asked = world.platform.counts[CONNECT_PATH]
    assert [call() for _ in range(5)] == [401] * 5
    assert world.platform.counts[CONNECT_PATH] <= asked + 6
    world.clock.ahead += 60
    world.platform.faults.set(CONNECT_PATH, delay=5)
    world.forge(shared_secret="x" * 40)
    start = time.monotonic()
    assert call() == 401
    assert time.monotonic() - start < 1.5


def test_a_refused_call_is_sent_again_with_a_secret_that_is_proven_by_then(world: World) -> None:
    world.install()
    world.install(activate="after")
    with world.app.app_context():
        client = world.state.platform.client_for(world.organization_id)
        assert client.get("/api/v1/users").status_code == 200
    assert world.waiting == 0


@pytest.mark.parametrize("value", ["a\x00b", "\ud800", "x" * 3000, "' OR 1=1 --"])
@pytest.mark.parametrize("kind", ["organizationId", "uuid"])
def test_a_webhook_of_a_strange_subject_is_401(world: World, kind: str, value: str) -> None:
    world.install()
    claims = {"issued_by": "meta-platform-webhook", "sub": f"{kind}:{value}", "exp": time.time() + 60}
    assert world.webhook(token=signed(json.dumps(claims).encode())) == 401


class Pooled:
    """A database with one single connection, which nobody waits for longer than a moment."""

    def __init__(self, url: str) -> None:
        class Base(DeclarativeBase):
            pass

        class ClientInfo(Base, ConnectAppClientInfoMixin):
            pass

        class Claim(Base, ConnectAppClaimMixin):
            pass

        self.engine: Engine = create_engine(
            url, poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0.5
        )
        Base.metadata.create_all(self.engine)
        self.orbro = OrbroConnect(client_info_model=ClientInfo, db_session_maker=sessionmaker(self.engine))

    @property
    def in_use(self) -> int:
        pool = self.engine.pool
        assert isinstance(pool, QueuePool)
        return pool.checkedout()


@pytest.fixture
def pooled(tmp_path: Any) -> Iterator[Pooled]:
    made = Pooled(f"sqlite:///{tmp_path}/one.sqlite")
    yield made
    made.engine.dispose()


def test_no_database_connection_is_held_while_the_platform_is_waited_for(
    make_world: MakeWorld,
    pooled: Pooled,
) -> None:
    world = make_world(pooled.orbro, ORBRO_VERDICT_TTL=0)
    world.install()

    for path in (USER_PATH, CONNECT_PATH):
        world.platform.faults.set(path, delay=1)
    tokens = [world.platform.user_token("acme") for _ in range(4)]
    client = world.app.test_client

    def ask(number: int) -> int:
        if number == 0:
            return world.install(subdomain="slow").status
        if number == 1:
            return world.post("/uninstalled", organization_id=world.organization_id).status_code
        if number < 6:
            headers = bearer(tokens[number - 2]) | {"sub": "acme"}
            return client().get("/me", headers=headers).status_code
        time.sleep(0.5)
        assert pooled.in_use == 0
        return world.webhook()

    assert at_once(7, ask) == [200] * 7
    assert pooled.in_use == 0


def test_a_proof_leaves_no_session_behind(make_world: MakeWorld, pooled: Pooled) -> None:
    world = make_world(pooled.orbro)
    world.install(activate="after")
    world.sweep(after=2)
    world.forge()
    world.sweep(after=5)
    world.platform.uninstall(world.url, "acme")
    world.sweep(after=4000)
    world.state.lifecycle.remove(world.organization_id)
    assert pooled.in_use == 0
