"""How the library's tables find their classes in a declarative base."""

from __future__ import annotations

import gc

import pytest
from sqlalchemy import Column, Index, StaticPool, String, UniqueConstraint, create_engine
from sqlalchemy.orm import DeclarativeBase, sessionmaker

from flask_orbro import (
    ConfigurationError,
    ConnectAppClaimMixin,
    ConnectAppClientInfoMixin,
    ConnectAppDeliveryMixin,
)
from flask_orbro.crypto import KeyRing
from flask_orbro.installation import Organization, State
from flask_orbro.models import map_models
from flask_orbro.stores.organizations import OrganizationStore
from flask_orbro.stores.records import Records


class Base(DeclarativeBase):
    pass


def test_the_users_own_classes_are_taken() -> None:
    class Own(DeclarativeBase):
        pass

    class Info(Own, ConnectAppClientInfoMixin):
        pass

    class Claim(Own, ConnectAppClaimMixin):
        pass

    class Delivery(Own, ConnectAppDeliveryMixin):
        pass

    for _ in range(2):
        models = map_models(Own)
        assert (models.client_info, models.claim, models.delivery) == (Info, Claim, Delivery)


def test_a_class_that_was_collected_leaves_a_table_that_is_mapped_again() -> None:
    def declare() -> None:
        class Claim(Base, ConnectAppClaimMixin):
            pass

    declare()
    table = Base.metadata.tables["connect_app_claim"]
    gc.collect()
    models = map_models(Base)
    assert models.claim.__table__ is table
    assert map_models(Base) == models


def test_a_class_that_has_lost_what_is_unique_is_refused() -> None:
    class Own(DeclarativeBase):
        pass

    class Info(Own, ConnectAppClientInfoMixin):
        organization_id = Column(String(255), nullable=False)

    class Other(DeclarativeBase):
        pass

    class Claim(Other, ConnectAppClaimMixin):
        __table_args__ = ()

    with pytest.raises(ConfigurationError, match="Info must keep organization_id unique"):
        map_models(Own, Info)
    with pytest.raises(ConfigurationError, match="Claim must keep organization_id and digest unique"):
        map_models(Other)


def test_what_is_unique_by_another_name_will_do() -> None:
    class Own(DeclarativeBase):
        pass

    class Info(Own, ConnectAppClientInfoMixin):
        __table_args__ = (
            Index("one_each", "organization_id", unique=True),
            UniqueConstraint("bound_subdomain"),
        )
        organization_id = Column(String(255), nullable=False)
        bound_subdomain = Column(String(63))

    assert map_models(Own, Info).client_info is Info


def test_an_engine_that_folds_case_does_not_change_or_delete_a_neighbour() -> None:
    class Own(DeclarativeBase):
        pass

    class Info(Own, ConnectAppClientInfoMixin):
        organization_id = Column(String(255, collation="NOCASE"), nullable=False, unique=True)

    models = map_models(Own, Info)
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Own.metadata.create_all(engine)
    store = OrganizationStore(sessionmaker(engine), models, Records(KeyRing([b"k" * 32])))
    store.change("Acme", lambda _: Organization("Acme", State.PENDING, "secret"))
    seen: list[Organization | None] = []
    store.change("acme", lambda current: seen.append(current))
    with sessionmaker(engine)() as session, session.begin():
        assert store.delete_in(session, "acme") is None
    assert seen == [None]
    assert [found.organization_id for found in store.all()] == ["Acme"]
    engine.dispose()
