"""How the library's tables find their classes in a declarative base."""

from __future__ import annotations

import gc

from sqlalchemy.orm import DeclarativeBase

from flask_orbro import ConnectAppClaimMixin, ConnectAppClientInfoMixin, ConnectAppDeliveryMixin
from flask_orbro.models import map_models


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
