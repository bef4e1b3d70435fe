"""Reading a definition key by key: references are followed, and every fault is noted with its path."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

#: Stands for "there is no default".
REQUIRED: Any = object()
REFERENCES = '{"config": "KEY"} or {"env": "NAME"}'


@dataclass(frozen=True)
class Sources:
    """Where references lead: ``{"config": "KEY"}`` and ``{"env": "NAME"}``."""

    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    env: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def follow(self, reference: Mapping[str, Any]) -> Any:
        """What a reference refers to.

        :raises ValueError: where it is none, or leads nowhere.
        """
        if len(reference) != 1 or not set(reference) <= {"config", "env"}:
            raise ValueError(f"must be a value or a reference: {REFERENCES}")
        [(kind, name)] = reference.items()
        if not isinstance(name, str):
            raise ValueError(f"must name what it refers to as text, not {type(name).__name__}")
        value = (self.config if kind == "config" else self.env).get(name)
        if value is None or value == "":
            where = "the configuration" if kind == "config" else "the environment"
            raise ValueError(f"refers to {name}, which is missing in {where}")
        # Flask's environment loader makes numbers of digits.
        return str(value) if type(value) is int else value


class Reading:
    """One mapping of a definition.

    :param path: such as ``ORBRO_CONNECTIONS['weather']``.
    :param faults: where faults are noted; reading goes on, so that all are found at once.
    """

    def __init__(self, path: str, document: Any, sources: Sources, faults: list[str]) -> None:
        self.path = path
        self._sources = sources
        self._faults = faults
        self._faults_before = len(faults)
        self._read: set[str] = set()
        if isinstance(document, Mapping):
            self.document: Mapping[Any, Any] = document
        else:
            self.document = {}
            self.fault("", f"must be a mapping, not {type(document).__name__}")

    def __contains__(self, key: str) -> bool:
        return self.document.get(key) is not None

    @property
    def is_sound(self) -> bool:
        """Whether no fault was noted since reading began."""
        return len(self._faults) == self._faults_before

    def fault(self, key: str, what: str) -> None:
        """Note a fault of a key, or of the whole where it is empty."""
        self._faults.append(f"{self.path}{'.' + key if key else ''}: {what}.")

    def take(
        self,
        key: str,
        check: Callable[[Any], Any],
        default: Any = REQUIRED,
        *,
        secret: bool = False,
        numeric: bool = False,
        usual: Mapping[str, str] | None = None,
    ) -> Any:
        """The checked value of a key; ``None``, and a fault noted, where there is none that will do.

        :param secret: it has to be a reference, so that the definition can be committed.
        :param numeric: a reference may lead to a number that is written as text.
        :param usual: the reference that is followed where the key is not there.
        """
        self._read.add(key)
        value = self.document.get(key)
        value = usual if value is None else value
        if value is None:
            if default is REQUIRED:
                self.fault(key, "is missing")
                return None
            return default
        try:
            if isinstance(value, Mapping):
                return self._followed(value, check, numeric)
            if secret:
                raise ValueError(f"is a secret and must be a reference: {REFERENCES}")
            return check(value)
        except ValueError as error:
            self.fault(key, str(error))
            return None

    def _followed(self, reference: Mapping[str, Any], check: Callable[[Any], Any], numeric: bool) -> Any:
        value = self._sources.follow(reference)
        value = _number(value) if numeric else value
        try:
            return check(value)
        except ValueError as error:
            # What is referred to may be a secret, by mistake too.
            said = str(error).removesuffix(f", not {value!r}")
            shown = "" if repr(value) in said else f": it {said}"
            raise ValueError(
                f"refers to {next(iter(reference.values()))}, which will not do{shown}"
            ) from None

    def part(self, key: str, default: Any = REQUIRED) -> Reading:
        """The mapping below a key."""
        self._read.add(key)
        document = self.document.get(key)
        if document is None and default is not REQUIRED:
            document = default
        return Reading(f"{self.path}.{key}", document, self._sources, self._faults)

    def items(self) -> Iterator[str]:
        """The keys, each to be taken: for mappings whose keys are the user's."""
        for key in self.document:
            if isinstance(key, str):
                yield key
            else:
                self.fault("", f"has a key that is not text: {key!r}")

    def finish(self) -> None:
        """Note the keys that nobody has taken."""
        for key in self.document:
            if key not in self._read:
                self.fault("", f"has an unknown key {key!r}")


def _number(value: str) -> Any:
    """What is referred to, as the number that it is written for, or as it is."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
