"""``orbro.client_info_store``: the old SDK's store, and what it lacked."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import String, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker

from flask_orbro import ClientInfo, ClientInfoDataStore, ConnectAppClientInfoMixin, OrbroConnect
from flask_orbro.errors import ServiceUnavailable
from flask_orbro.installation import State
from flask_orbro.installs.lifecycle import Installed
from flask_orbro.protocol import CONNECT_PATH

from .conftest import bearer
from .lifecycle_world import MakeWorld, World, make_world_fixture, world_fixture  # noqa: F401
from .world import webhook_token

SECRET = "s" * 40


@pytest.fixture
def store(world: World) -> Iterator[ClientInfoDataStore]:
    with world.app.app_context():
        yield world.state.client_info


def row(world: World, **more: Any) -> dict[str, Any]:
    usual = {"organization_id": world.organization_id, "shared_secret": SECRET, "subdomain": "acme"}
    return usual | more


def test_an_installed_organization_is_found_by_id_subdomain_and_user(
    world: World, store: ClientInfoDataStore
) -> None:
    world.install(shared_secret=SECRET)
    found = store.get_by_organization_id(world.organization_id)
    assert isinstance(found, ClientInfo)
    assert (found.organization_id, found.shared_secret, found.subdomain, found.state) == (
        world.organization_id, SECRET, "acme", State.ACTIVE,
    )  # fmt: skip
    assert found.created_time is not None
    assert found.installed_user_id is not None
    assert store.get_by_subdomain("ACME") == found
    assert store.get_by_user_id(found.installed_user_id) == found
    assert list(store.get_all()) == [found]
    assert SECRET not in repr(found)
    assert store.get_by_organization_id("o2") is None
    assert store.get_by_subdomain("other") is None
    assert store.get_by_user_id("nobody") is None


def test_nothing_is_found_by_none(world: World, store: ClientInfoDataStore) -> None:
    world.install(send_subdomain=False)
    store.add({"organization_id": "o2", "shared_secret": SECRET})
    store.commit()
    assert len(list(store.get_all())) >= 1
    for look_up in (store.get_by_organization_id, store.get_by_subdomain, store.get_by_user_id):
        assert look_up(None) is None


@pytest.mark.parametrize("user", [{"user_id": "u1"}, {"installed_user_id": "u1"}])
def test_what_is_added_is_there_after_the_commit_and_waits_to_be_proven(
    world: World, store: ClientInfoDataStore, user: dict[str, str]
) -> None:
    added = store.add(row(world, **user))
    assert (added.installed_user_id, added.state) == ("u1", State.PENDING)
    assert store.get_by_organization_id(world.organization_id) is None
    store.commit()
    for found in (
        store.get_by_organization_id(world.organization_id),
        store.get_by_subdomain("acme"),
        store.get_by_user_id("u1"),
    ):
        assert found is not None
        assert (found.state, found.installed_user_id, found.shared_secret) == (State.PENDING, "u1", SECRET)
    token = webhook_token(SECRET, world.organization_id)
    webhook = world.app.test_client().post("/webhook/device", json={}, headers=bearer(token))
    assert (world.me(), webhook.status_code) == (401, 401)
    assert world.signals == []


def test_what_is_added_counts_once_the_platform_accepts_it(world: World, store: ClientInfoDataStore) -> None:
    world.install(shared_secret=SECRET)
    world.state.erasure.erase(world.organization_id)
    world.signals.clear()
    store.add(row(world))
    store.commit()
    world.sweep()
    assert store.get_by_organization_id(world.organization_id).state is State.ACTIVE  # type: ignore[union-attr]
    assert (world.me(), world.signals) == (200, [("app-installed", world.organization_id)])


def test_an_answer_about_one_secret_says_nothing_about_another(
    world: World, store: ClientInfoDataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.install(shared_secret=SECRET)
    world.state.erasure.erase(world.organization_id)
    store.add(row(world))
    store.commit()
    ask = world.state.inquiry._prover.ask

    def then_another_is_added(**question: Any) -> Any:
        outcome = ask(**question)
        store.add(row(world, shared_secret="t" * 40))
        store.commit()
        return outcome

    with monkeypatch.context() as patch:
        patch.setattr(world.state.inquiry._prover, "ask", then_another_is_added)
        world.sweep()
    assert world.stored is not None
    assert (world.stored.state, world.stored.shared_secret) == (State.PENDING, "t" * 40)


@pytest.mark.parametrize("need", ["me", "webhook", "call"])
def test_what_is_added_is_proven_on_first_use(world: World, store: ClientInfoDataStore, need: str) -> None:
    world.install(shared_secret=SECRET)
    world.state.erasure.erase(world.organization_id)
    store.add(row(world))
    store.commit()
    if need == "call":
        client = world.state.platform.client_for(world.organization_id)
        assert client.get("/api/v1/users").status_code == 200
    else:
        assert getattr(world, need)() == 200
    assert store.get_by_organization_id(world.organization_id).state is State.ACTIVE  # type: ignore[union-attr]


def test_while_the_platform_cannot_be_asked_a_first_use_is_undecided(
    world: World, store: ClientInfoDataStore
) -> None:
    world.install(shared_secret=SECRET)
    world.state.erasure.erase(world.organization_id)
    store.add(row(world))
    store.commit()
    world.platform.faults.set(CONNECT_PATH, status=500)
    assert (world.me(), world.webhook()) == (503, 503)
    with pytest.raises(ServiceUnavailable):
        world.state.platform.client_for(world.organization_id)
    world.platform.faults.clear()
    world.clock.ahead += 60
    assert (world.me(), world.webhook()) == (200, 200)


def test_adding_changes_nothing_that_was_proven(world: World, store: ClientInfoDataStore) -> None:
    world.install(shared_secret=SECRET)
    before = world.stored
    for change in ({}, {"shared_secret": "t" * 40}, {"subdomain": "other"}, {"user_id": "attacker"}):
        store.add(row(world, **change))
        store.commit()
        assert world.stored == before
    assert world.waiting == 3  # the first says what is known
    for _ in range(3):
        world.sweep(after=10)
    assert world.stored == before


def test_without_the_proof_mode_what_is_added_is_the_first_install(make_world: MakeWorld) -> None:
    world = make_world(ORBRO_INSTALL_PROOF="none")
    with world.app.app_context():
        store = world.state.client_info
        store.add(row(world))
        store.commit()
        world.sweep()
        assert store.get_by_subdomain("acme").state is State.ACTIVE  # type: ignore[union-attr]
    assert not world.platform.requests


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"shared_secret": "short"}, "shared_secret"),
        ({"organization_id": "a b"}, "organization_id"),
        ({"subdomain": "evil.example/#"}, "subdomain"),
        ({"nickname": "x"}, "nickname"),
        ({"organization_id": None}, "organization_id"),
    ],
)
def test_what_cannot_be_added_is_named_and_not_shown(
    world: World, store: ClientInfoDataStore, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named) as caught:
        store.add(row(world, **change))
    assert SECRET not in str(caught.value)
    store.commit()
    assert list(store.get_all()) == []


def test_a_deleted_organization_is_gone_with_the_commit(world: World, store: ClientInfoDataStore) -> None:
    world.install()
    world.forge()
    found = store.get_by_organization_id(world.organization_id)
    assert found is not None
    store.delete(found)
    assert (world.me(), world.waiting) == (200, 1)
    store.commit()
    assert (list(store.get_all()), world.stored, world.waiting, world.me()) == ([], None, 0, 401)
    assert world.signals[-1] == ("app-uninstalled", world.organization_id)
    store.delete(world.organization_id)
    store.commit()
    assert len(world.signals) == 2


def test_what_is_not_committed_ends_with_its_app_context(world: World) -> None:
    store = world.state.client_info
    with world.app.app_context():
        store.add(row(world))
    with world.app.app_context():
        store.commit()
        assert list(store.get_all()) == []


def test_a_commit_is_whole_or_not_at_all(world: World, store: ClientInfoDataStore) -> None:
    world.install()
    for number in range(world.state.config.max_claims_per_organization):
        call = Installed(
            organization_id=world.organization_id, shared_secret=f"{number:040}", subdomain="acme"
        )
        world.state.claims.add(world.state.lifecycle.claim(call))
    store.add({"organization_id": "o2", "shared_secret": SECRET})
    store.add(row(world, shared_secret="t" * 40))
    with pytest.raises(ServiceUnavailable):
        store.commit()
    assert store.get_by_organization_id("o2") is None
    store.commit()
    assert store.get_by_organization_id("o2") is None


def test_an_uninstalled_organization_is_not_found_and_its_history_is(
    world: World, store: ClientInfoDataStore
) -> None:
    world.install()
    world.platform.uninstall(world.url, "acme")
    world.sweep(after=4000)
    assert world.stored.state is State.UNINSTALLED  # type: ignore[union-attr]
    assert store.get_by_organization_id(world.organization_id) is None
    assert (store.get_by_subdomain("acme"), list(store.get_all())) == (None, [])
    history = store.history(world.organization_id)
    assert [(line.before, line.after, line.why) for line in history] == [
        (None, State.ACTIVE, "installed"),
        (State.ACTIVE, State.SUSPENDED, "refused"),
        (State.SUSPENDED, State.UNINSTALLED, "refused again"),
    ]
    assert [line.at for line in history] == sorted(line.at for line in history)
    assert store.history("nobody") == []


def test_all_are_streamed_page_by_page(world: World, store: ClientInfoDataStore) -> None:
    ids = [f"o{number}" for number in range(7)]
    for organization_id in ids:
        store.add({"organization_id": organization_id, "shared_secret": SECRET})
    store.commit()
    found = store.get_all(page=3)
    assert next(found).organization_id == "o0"
    store.delete("o1")
    store.commit()
    # What was read of the first page is given; nothing is held meanwhile.
    assert [info.organization_id for info in found] == ids[1:]
    assert [info.organization_id for info in store.get_all(page=3)] == ["o0", *ids[2:]]


def test_an_active_organization_comes_before_one_that_only_names_the_subdomain(
    world: World, store: ClientInfoDataStore
) -> None:
    store.add({"organization_id": "other", "shared_secret": SECRET, "subdomain": "acme", "user_id": "u1"})
    store.commit()
    assert store.get_by_subdomain("acme").organization_id == "other"  # type: ignore[union-attr]
    world.install()
    assert store.get_by_subdomain("acme").organization_id == world.organization_id  # type: ignore[union-attr]


class Base(DeclarativeBase):
    pass


class OwnInfo(Base, ConnectAppClientInfoMixin):
    nickname: Mapped[str | None] = mapped_column(String(40))


def test_a_scoped_session_stays_the_apps_own(make_world: MakeWorld, tmp_path: Any) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/own.sqlite")
    scoped = scoped_session(sessionmaker(engine))
    world = make_world(OrbroConnect(db_session_maker=scoped, client_info_model=OwnInfo))
    Base.metadata.create_all(engine)
    with world.app.app_context():
        mine = scoped()
        mine.execute(select(OwnInfo.id)).all()  # it is in a transaction
        store = world.state.client_info
        store.add({"organization_id": "o1", "shared_secret": SECRET})
        store.commit()
        assert [info.organization_id for info in store.get_all()] == ["o1"]
        assert scoped() is mine
        assert mine.in_transaction()
        scoped.remove()
    world.install()
    assert world.me() == 200
    engine.dispose()


def test_columns_of_the_apps_own_model_are_attributes(make_world: MakeWorld, tmp_path: Any) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/own.sqlite")
    sessions = sessionmaker(engine)
    world = make_world(OrbroConnect(db_session_maker=sessions, client_info_model=OwnInfo))
    Base.metadata.create_all(engine)
    world.install()
    with world.app.app_context():
        store = world.state.client_info
        store.add({"organization_id": "o2", "shared_secret": SECRET, "nickname": "deux"})
        store.commit()
        assert [info.nickname for info in store.get_all()] == [None, "deux"]
        found = copy.deepcopy(store.get_by_organization_id("o2"))
        assert found is not None
        assert found.nickname == "deux"
        with pytest.raises(AttributeError, match="no 'surname'"):
            found.surname  # noqa: B018
    with sessions() as session:
        secrets = list(session.scalars(select(OwnInfo.shared_secret)))
    assert all(secret.startswith("orbro1:") for secret in secrets)
    engine.dispose()


def test_threads_share_nothing_that_is_not_committed(world: World) -> None:
    store, barrier = world.state.client_info, threading.Barrier(8)
    faults: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with world.app.app_context():
                barrier.wait(10)
                store.add({"organization_id": f"kept-{number}", "shared_secret": SECRET})
                barrier.wait(10)
                if number % 2:
                    store.commit()
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert faults == []
    with world.app.app_context():
        assert sorted(info.organization_id for info in store.get_all()) == [f"kept-{n}" for n in (1, 3, 5, 7)]


def test_outside_of_an_app_context_the_store_explains_itself() -> None:
    with pytest.raises(RuntimeError, match="app context"):
        OrbroConnect().client_info_store  # noqa: B018
