"""One delivery of the platform."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Delivery:
    """A verified webhook.

    :param user_id: of a token of the older form ``uuid:{user}``; else the installing user, if known.
    :param payload: the JSON body, as it came.
    """

    organization_id: str
    user_id: str | None
    payload: Any = field(repr=False)
