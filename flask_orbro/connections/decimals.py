"""JSON whose decimals keep their digits: in FHIR 1.50 says more than 1.5 does (R4, *Datatypes*, decimal)."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any, Self


class WrittenDecimal(float):
    """A float that knows how it was written: ``WrittenDecimal("1.50")`` prints, and is sent, as ``1.50``."""

    __slots__ = ("_written",)
    _written: str

    def __new__(cls, written: str) -> Self:
        """:raises ValueError: where no float is as large."""
        made = super().__new__(cls, written)
        if not math.isfinite(made):
            raise ValueError("This number is too large.")
        made._written = written
        return made

    def __repr__(self) -> str:
        return self._written

    def __getnewargs__(self) -> tuple[str]:  # type: ignore[override]
        return (self._written,)


def write(document: Any) -> str:
    """A JSON document as text; a :class:`~decimal.Decimal` is a number too.

    :raises ValueError: a number that JSON does not have.
    :raises TypeError: anything else that it does not have.
    """
    match document:
        case WrittenDecimal():
            return repr(document)
        case Decimal() if document.is_finite():
            return str(document)
        case Decimal():
            raise ValueError("JSON has no such number.")
        case dict():
            members = (f"{_key(name)}:{write(value)}" for name, value in document.items())
            return "{" + ",".join(members) + "}"
        case list() | tuple():
            return "[" + ",".join(map(write, document)) + "]"
        case _:
            return json.dumps(document, ensure_ascii=False, allow_nan=False)


def _key(name: Any) -> str:
    if not isinstance(name, str):
        raise TypeError(f"A name in a JSON object is text, not {type(name).__name__}.")
    return json.dumps(name, ensure_ascii=False)


def refuse(constant: str) -> Any:
    """For ``NaN`` and its like, which :mod:`json` reads and JSON does not have."""
    raise ValueError(f"JSON has no {constant}.")
