"""How the library's tables find their classes in a declarative base."""

from __future__ import annotations

import gc

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    Computed,
    Index,
    Integer,
    MetaData,
    StaticPool,
    String,
    UniqueConstraint,
    create_engine,
    select,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, sessionmaker

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


@pytest.mark.parametrize("schema", [None, "app"])
def test_a_class_that_was_collected_leaves_a_table_that_is_mapped_again(schema: str | None) -> None:
    class Own(DeclarativeBase):
        metadata = MetaData(schema=schema)

    def declare() -> None:
        class Claim(Own, ConnectAppClaimMixin):
            pass

    declare()
    (table,) = Own.metadata.tables.values()
    gc.collect()
    models = map_models(Own)
    assert models.claim.__table__ is table
    assert map_models(Own) == models


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


def test_a_column_of_the_apps_own_that_nobody_can_fill_is_refused() -> None:
    class Own(DeclarativeBase):
        pass

    class Info(Own, ConnectAppClientInfoMixin):
        tier: Mapped[str]
        plan_id: Mapped[int] = mapped_column(nullable=False)

    class Other(DeclarativeBase):
        pass

    class Claim(Other, ConnectAppClaimMixin):
        tier: Mapped[str]

    class Third(DeclarativeBase):
        pass

    class Delivery(Third, ConnectAppDeliveryMixin):
        tenant: Mapped[str] = mapped_column(primary_key=True)

    with pytest.raises(ConfigurationError, match="Info needs a default for tier and plan_id, or no row"):
        map_models(Own, Info)
    with pytest.raises(ConfigurationError, match="Claim needs a default for tier,"):
        map_models(Other)
    with pytest.raises(ConfigurationError, match="Delivery needs a default for tenant,"):
        map_models(Third)


def test_columns_of_the_apps_own_that_fill_themselves_are_taken() -> None:
    class Own(DeclarativeBase):
        pass

    class Info(Own, ConnectAppClientInfoMixin):
        id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
        nickname: Mapped[str | None]
        tier: Mapped[str] = mapped_column(default="free")
        plan: Mapped[str] = mapped_column(insert_default=lambda: "basic")
        region: Mapped[str] = mapped_column(String(8), server_default="eu")
        twice: Mapped[int] = mapped_column(Computed("2 * asked"), nullable=False)

    models = map_models(Own, Info)
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Own.metadata.create_all(engine)
    store = OrganizationStore(sessionmaker(engine), models, Records(KeyRing([b"k" * 32])))
    store.change("o1", lambda _: Organization("o1", State.PENDING, "secret"))
    with engine.connect() as connection:
        row = connection.execute(select(Info.nickname, Info.tier, Info.plan, Info.region, Info.twice)).one()
    assert tuple(row) == (None, "free", "basic", "eu", 0)
    engine.dispose()


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
