"""Names that no database can keep name nobody; looking for them is no error."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from flask_orbro import NotAllowed, OrbroConnect
from flask_orbro.cli import orbro as orbro_cli
from flask_orbro.state import get_state

from .conftest import Database, claim, installing

STRANGE = ["a\0b", "\0", "\ud800", "acme\udfff", "\udcff", "", "a" * 1_000_000, "%s", "'", "\U0010ffff"]


@pytest.mark.parametrize("name", STRANGE, ids=lambda name: ascii(name[:9]))
def test_nobody_has_a_strange_name(database: Database, name: str) -> None:
    organizations, claims = database.organizations, database.claims()
    organizations.change("o1", installing(claim()))
    claims.add(claim(secret="secret-2"))
    assert organizations.get(name) is None
    assert organizations.bound_to(name) is None
    assert organizations.named(name) == []
    assert organizations.active_by_user(name) == []
    assert organizations.change(name, lambda current: current) is None
    assert claims.of_organization(name) == []
    assert claims.of_subdomain(name) == []
    assert claims.get(name, "digest") is None
    assert database.inbox.find(organization_id=name) == []
    assert database.inbox.erase(name) == 0
    with database.sessions() as session, session.begin():
        assert organizations.delete_in(session, name) is None
        assert claims.drop_all_in(session, name) == 0
    assert (len(list(organizations.all())), claims.count()) == (1, 1)


@pytest.mark.parametrize("name", STRANGE, ids=lambda name: ascii(name[:9]))
def test_no_client_is_made_for_a_strange_name(
    database: Database, make_app: Callable[..., Flask], name: str
) -> None:
    orbro = OrbroConnect(db_session_maker=database.sessions)
    app = make_app(orbro)
    with app.app_context():
        for named in ({"organization_id": name}, {"subdomain": name}, {"user_id": name}):
            for make in (orbro.client_for, orbro.async_client_for):
                with pytest.raises(NotAllowed):
                    make(**named)  # type: ignore[operator]


def test_an_operator_may_mistype(database: Database, make_app: Callable[..., Flask]) -> None:
    app = make_app(OrbroConnect(db_session_maker=database.sessions))
    for name in ("\udcff", "a\x01"):
        for command in (["organizations", "approve"], ["organizations", "remove"], ["erase"]):
            outcome = app.test_cli_runner().invoke(orbro_cli, [*command, name])
            assert outcome.exit_code != 0
            assert isinstance(outcome.exception, SystemExit)
        outcome = app.test_cli_runner().invoke(orbro_cli, ["deliveries", "--organization", name])
        assert (outcome.exit_code, outcome.output) == (0, "")
    assert get_state(app).claims.count() == 0
