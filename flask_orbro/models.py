"""SQL mixins, and how they become tables of the app's own database.

``ConnectAppClientInfoMixin`` keeps the table and the columns of the platform's Python SDK, so that a
model written for it works with this library; what the library needs besides is added to it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    DateTime,
    Double,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    false,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import Mapped, MappedColumn, declared_attr, mapped_column, registry

from .errors import ConfigurationError

#: Identifiers are compared byte by byte on every engine.
Identifier = String(255).with_variant(mysql.VARCHAR(255, collation="utf8mb4_bin"), "mysql", "mariadb")
#: SQLite counts up by itself in a column of this very type alone.
Serial = BigInteger().with_variant(Integer, "sqlite")
#: A body as it came, which on MariaDB would else end at 64 KiB.
Body = LargeBinary().with_variant(mysql.LONGBLOB, "mysql", "mariadb")
LongText = Text().with_variant(mysql.MEDIUMTEXT(collation="utf8mb4_bin"), "mysql", "mariadb")


def _utc_now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


class ConnectAppClientInfoMixin:
    """An organization that has installed the app: one row each.

    The first seven columns are the old SDK's. Columns ending in ``_at`` or ``_until`` are seconds since
    the epoch; :class:`flask_orbro.installation.Organization` tells what they mean.
    """

    __tablename__ = "connect_app_client_info"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    organization_id: Mapped[str] = mapped_column(Identifier, nullable=False, unique=True)
    shared_secret: Mapped[str] = mapped_column(String(1024), nullable=False)
    subdomain: Mapped[str | None] = mapped_column(String(255), index=True)
    installed_user_id: Mapped[str | None] = mapped_column(Identifier, index=True)
    created_time: Mapped[datetime | None] = mapped_column(DateTime, default=_utc_now)
    updated_time: Mapped[datetime | None] = mapped_column(DateTime, default=_utc_now, onupdate=_utc_now)

    state: Mapped[str] = mapped_column(String(16), nullable=False, server_default="pending")
    bound_subdomain: Mapped[str | None] = mapped_column(String(63), unique=True)
    previous_secret: Mapped[str | None] = mapped_column(String(1024))
    previous_secret_until: Mapped[float] = mapped_column(Double, nullable=False, server_default="0")
    proven_at: Mapped[float] = mapped_column(Double, nullable=False, server_default="0")
    binding_proven_at: Mapped[float] = mapped_column(Double, nullable=False, server_default="0")
    uninstall_requested_at: Mapped[float | None] = mapped_column(Double)
    refused_at: Mapped[float | None] = mapped_column(Double)
    asked: Mapped[int] = mapped_column(Integer, nullable=False, server_default="0")
    ask_at: Mapped[float | None] = mapped_column(Double, index=True)
    enabled: Mapped[bool | None] = mapped_column(Boolean)
    approved: Mapped[bool] = mapped_column(Boolean, nullable=False, server_default=false())
    uninstalled_at: Mapped[float | None] = mapped_column(Double, index=True)
    last_seen_at: Mapped[float | None] = mapped_column(Double)
    history: Mapped[str | None] = mapped_column(Text)
    version: Mapped[int] = mapped_column(Integer, nullable=False, server_default="0")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.organization_id!r} {self.state}>"


class ConnectAppClaimMixin:
    """An install that nobody has proven yet. Claims wait here, beside what is trusted."""

    __tablename__ = "connect_app_claim"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    organization_id: Mapped[str] = mapped_column(Identifier, nullable=False)
    digest: Mapped[str] = mapped_column(String(64), nullable=False)
    shared_secret: Mapped[str] = mapped_column(String(1024), nullable=False)
    user_id: Mapped[str | None] = mapped_column(Identifier)
    subdomain: Mapped[str | None] = mapped_column(String(63), index=True)
    received_at: Mapped[float] = mapped_column(Double, nullable=False)
    asked: Mapped[int] = mapped_column(Integer, nullable=False, default=0)
    refused: Mapped[int] = mapped_column(Integer, nullable=False, default=0)
    ask_at: Mapped[float] = mapped_column(Double, nullable=False, default=0)

    @declared_attr.directive
    @classmethod
    def __table_args__(cls) -> tuple[Any, ...]:
        return (
            UniqueConstraint("organization_id", "digest", name="uq_connect_app_claim"),
            Index("ix_connect_app_claim_ask_at", "ask_at"),
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.organization_id!r} asked {self.asked}>"


class ConnectAppDeliveryMixin:
    """A delivery of the platform: one row each, committed before it is acknowledged.

    :class:`flask_orbro.stores.inbox.DeliveryRecord` tells what the columns mean. Every query finds its
    rows by one of the indexes, so that a full inbox costs what an empty one does.
    """

    __tablename__ = "connect_app_delivery"

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    organization_id: Mapped[str] = mapped_column(Identifier, nullable=False)
    user_id: Mapped[str | None] = mapped_column(Identifier)
    event: Mapped[str | None] = mapped_column(Identifier)
    path: Mapped[str] = mapped_column(String(255), nullable=False)
    payload: Mapped[bytes] = mapped_column(Body, nullable=False)
    headers: Mapped[str] = mapped_column(LongText, nullable=False)
    trace_id: Mapped[str] = mapped_column(String(64), nullable=False)
    digest: Mapped[str] = mapped_column(String(64), nullable=False)
    unique_digest: Mapped[str | None] = mapped_column(String(64))
    duplicate_of: Mapped[int | None] = mapped_column(BigInteger)
    received_at: Mapped[float] = mapped_column(Double, nullable=False)
    state: Mapped[str] = mapped_column(String(16), nullable=False)
    attempts: Mapped[int] = mapped_column(Integer, nullable=False, server_default="0")
    next_attempt_at: Mapped[float | None] = mapped_column(Double)
    lease: Mapped[str | None] = mapped_column(String(32))
    progress: Mapped[str | None] = mapped_column(LongText)
    last_error: Mapped[str | None] = mapped_column(LongText)
    duration: Mapped[float | None] = mapped_column(Double)

    @declared_attr.directive
    @classmethod
    def __table_args__(cls) -> tuple[Any, ...]:
        return (
            UniqueConstraint("unique_digest", name="uq_connect_app_delivery"),
            Index("ix_connect_app_delivery_next_attempt_at", "next_attempt_at"),
            Index("ix_connect_app_delivery_state", "state", "id"),
            Index("ix_connect_app_delivery_organization_id", "organization_id", "id"),
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.state}>"


@dataclass(frozen=True)
class Models:
    """The mapped classes of one app's database."""

    client_info: Any
    claim: Any
    delivery: Any

    @property
    def tables(self) -> list[Any]:
        return [self.client_info.__table__, self.claim.__table__, self.delivery.__table__]


_mapping = threading.Lock()


def map_models(base: Any, client_info: type | None = None) -> Models:
    """Map the library's tables into a declarative base, once.

    :param base: a declarative base: the user's own, or Flask-SQLAlchemy's ``db.Model``.
    :param client_info: the user's own class with :class:`ConnectAppClientInfoMixin`, already mapped.
    :raises ConfigurationError: a class of the user's own has redefined a column and lost its uniqueness, or
        has a column that must be given and that nobody gives.
    """
    with _mapping:
        info = client_info or _mapped(base, ConnectAppClientInfoMixin, "ConnectAppClientInfo")
        models = Models(
            info,
            _mapped(base, ConnectAppClaimMixin, "ConnectAppClaim"),
            _mapped(base, ConnectAppDeliveryMixin, "ConnectAppDelivery"),
        )
    _need_unique(models.client_info, "organization_id")
    _need_unique(models.client_info, "bound_subdomain")
    _need_unique(models.claim, "organization_id", "digest")
    _need_unique(models.delivery, "unique_digest")
    _need_defaults(models.client_info, ConnectAppClientInfoMixin)
    _need_defaults(models.claim, ConnectAppClaimMixin)
    _need_defaults(models.delivery, ConnectAppDeliveryMixin)
    return models


def columns_of(mixin: type) -> set[str]:
    """The names of the columns that a mixin brings."""
    return {name for name, value in vars(mixin).items() if isinstance(value, MappedColumn)}


def _need_unique(model: Any, *names: str) -> None:
    """Two writers who meet end in one row for nothing but this."""
    table = model.__table__
    found = [item.columns for item in table.constraints if isinstance(item, UniqueConstraint)]
    found += [index.columns for index in table.indexes if index.unique]
    if not any({column.name for column in columns} == set(names) for columns in found):
        raise ConfigurationError(
            f"{model.__name__} must keep {' and '.join(names)} unique, as its mixin does: give the column "
            "unique=True, or the table its UniqueConstraint."
        )


def _need_defaults(model: Any, mixin: type) -> None:
    """The library inserts rows, and knows nothing of the app's own columns."""
    table = model.__table__
    names = [column.name for column in table.columns if _must_be_given(column)]
    own = [name for name in names if name not in columns_of(mixin)]
    if own:
        raise ConfigurationError(
            f"{model.__name__} needs a default for {' and '.join(own)}, or no row can be inserted: what the "
            "platform sends has no value for columns of the app's own. Give them default=, server_default= "
            "or nullable=True."
        )


def _must_be_given(column: Any) -> bool:
    is_filled = column.default is not None or column.server_default is not None
    return not (column.nullable or is_filled or column is column.table.autoincrement_column)


def _mapped(base: Any, mixin: Any, name: str) -> Any:
    """The class that maps a mixin's table in a base: the one that is there, else a new one."""
    # Kept with the metadata: a registry knows its classes weakly, a table outlives its class.
    known: dict[str, Any] = base.metadata.info.setdefault("flask_orbro", {})
    for mapper in base.registry.mappers:
        if getattr(mapper.local_table, "name", None) == mixin.__tablename__:
            known[name] = mapper.class_
    if name not in known:
        tables = base.metadata.tables.values()
        table = next((found for found in tables if found.name == mixin.__tablename__), None)
        known[name] = type(name, (mixin, base), {} if table is None else {"__table__": table})
    return known[name]


def base_of(model: Any) -> Any:
    """The declarative base that a mapped class was made from."""
    for parent in model.__mro__[1:]:
        if getattr(parent, "registry", None) is model.registry and "registry" in vars(parent):
            return parent
    return model.registry.generate_base()


def own_models() -> Models:
    """Models on a declarative base of the library's own, for an app that brings none."""
    return map_models(registry().generate_base())
