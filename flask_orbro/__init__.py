"""Flask-Orbro: write ORBRO Connect apps with Flask.

The public names are those of :mod:`flask_orbro.public`. They are looked up when asked for, so that
:mod:`flask_orbro.connections` can be used where there is no Flask.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .public import *  # noqa: F403


def __getattr__(name: str) -> Any:
    # A module of ours is imported by whoever asks for it; it may be one that the public names need.
    if (name.startswith("_") and name != "__all__") or find_spec(f".{name}", __name__):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".public", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__")})
