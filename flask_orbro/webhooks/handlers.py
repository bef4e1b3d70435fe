"""Handlers: which functions a delivery is for."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import reduce
from pathlib import Path
from typing import Any

from ..config import SETTINGS, Config
from ..descriptor import Registration, app_path, comparable
from ..errors import ConfigurationError
from ..http.forks import ProcessLock
from .delivery import Delivery

Function = Callable[[Delivery], Any]
#: Characters of an event's name that are a wildcard.
_WILD = frozenset("*?[")


@dataclass(frozen=True, kw_only=True)
class Handler:
    """A function and what it is for.

    :param event: the event's name, or a pattern with ``*``, ``?`` and ``[…]``.
    :param path: where on the app the platform delivers to.
    :param where: a member of the payload, or of its ``data``, and the value it must have.
    :param attempts: how many times it is run at most; 0: as the app is configured.
    :param retry_on: errors after which it is run again.
    :param time_limit: seconds; 0: as the app is configured.
    """

    function: Function = field(repr=False)
    event: str
    path: str
    where: tuple[Any, Any] | None = None
    attempts: int = 0
    retry_on: tuple[type[Exception], ...] = (Exception,)
    time_limit: float = 0

    def __post_init__(self) -> None:
        if not inspect.isfunction(self.function):
            raise TypeError("Put 'orbro.on' on a function that takes a delivery.")
        if inspect.isgeneratorfunction(self.function) or inspect.isasyncgenfunction(self.function):
            raise TypeError(f"{self.place} is a generator, which nobody would run. Handle without 'yield'.")
        _check_wanted(self.place, self.event, *(self.where or (None, None)))
        if not all(isinstance(one, type) and issubclass(one, Exception) for one in self.retry_on):
            raise ConfigurationError(
                f"{self.place} needs a 'retry_on' of one class of errors, or a tuple of them."
            )
        self._check_bound("max_attempts", self.attempts, "ORBRO_HANDLER_ATTEMPTS")
        self._check_bound("time_limit", self.time_limit, "ORBRO_HANDLER_TIME_LIMIT")

    def _check_bound(self, name: str, value: Any, setting: str) -> None:
        """A handler's own bound may be what the setting may be; 0 is the setting's."""
        try:
            if value != 0:
                SETTINGS[setting].metadata["check"](value)
        except ValueError as error:
            raise ConfigurationError(f"{self.place}: '{name}' {error}.") from None

    def resolved(self, config: Config) -> Handler:
        """As it is in an app."""
        return replace(
            self,
            attempts=self.attempts or config.handler_attempts,
            time_limit=self.time_limit or config.handler_time_limit,
        )

    @property
    def name(self) -> str:
        """What its progress is kept under: a function of another name is another handler."""
        return f"{self.function.__module__}.{self.function.__qualname__}"

    @property
    def place(self) -> str:
        """Where it is written, for messages."""
        return place_of(self.function)

    @property
    def registration(self) -> Registration | None:
        """What the descriptor says of it; nothing of a pattern, which the platform may not know."""
        if _is_pattern(self.event):
            return None
        name, value = self.where or (None, None)
        return Registration(self.event, self.path, name, value, self.place)

    def takes(self, event: str | None, payload: Any) -> bool:
        """Whether a delivery is for it.

        One that does not show the property is: the platform has filtered, and nobody knows its payloads.
        """
        if self.event != "*" and (event is None or not fnmatchcase(event, self.event)):
            return False
        return self.wants(payload)

    def wants(self, payload: Any) -> bool:
        """Whether a payload is for it, as far as the property tells."""
        if self.where is None or not isinstance(payload, Mapping):
            return True
        name, value = self.where
        for shown in (payload, payload.get("data")):
            if isinstance(shown, Mapping) and name in shown:
                return comparable(shown[name]) == comparable(value)
        return True


class Handlers:
    """The handlers of one app."""

    def __init__(self) -> None:
        self._lock = ProcessLock()
        self._by_path: dict[str, list[Handler]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_path)

    def __contains__(self, path: object) -> bool:
        return path in self._by_path

    def add(self, handler: Handler) -> bool:
        """:returns: whether its path is a new one.

        :raises ConfigurationError: its path is none, or another function has its name.
        """
        app_path(handler.path, f"the path of {handler.place}")
        with self._lock:
            for other in self.all():
                if other.name == handler.name and other.function is not handler.function:
                    raise ConfigurationError(
                        f"Two handlers are named {handler.name}; give one of them another name, or say with "
                        "'app=' which app each is for."
                    )
            is_new = handler.path not in self._by_path
            # A new list: the old one may be walked through at this moment.
            self._by_path = self._by_path | {handler.path: [*self.at(handler.path), handler]}
        return is_new

    def all(self) -> list[Handler]:
        return [handler for handlers in self._by_path.values() for handler in handlers]

    def at(self, path: str) -> list[Handler]:
        return self._by_path.get(path, [])

    def of(self, path: str, event: str | None, payload: Any) -> list[Handler]:
        """Those that a delivery is for, each function once."""
        found = {handler.name: handler for handler in self.at(path)[::-1] if handler.takes(event, payload)}
        return list(found.values())[::-1]

    def could_be_for(self, path: str, event: str | None, payload: Any) -> bool:
        """Whether a delivery is for any of them, or would be if its event were known."""
        if event is not None:
            return bool(self.of(path, event, payload))
        return any(handler.wants(payload) for handler in self.at(path))

    def event_at(self, path: str) -> str | None:
        """The event of a path that is registered for one alone."""
        events = {handler.event for handler in self.at(path) if handler.registration is not None}
        return events.pop() if len(events) == 1 else None

    @property
    def longest(self) -> float:
        """Seconds that one attempt may take at most."""
        return max((sum(h.time_limit for h in handlers) for handlers in self._by_path.values()), default=0)


def place_of(function: Callable[..., Any]) -> str:
    """A function's name, file and line."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    line = "" if code is None else f" ({Path(code.co_filename).name}:{code.co_firstlineno})"
    return f"{function.__module__}.{function.__qualname__}{line}"


def check_registered(place: str, event: Any, name: Any, value: Any) -> None:
    """What a view is registered for, which is one event.

    :param place: where that is written, for messages.
    :raises ConfigurationError: there is no such event, or none of its deliveries could have the filter.
    """
    _check_wanted(place, event, name, value)
    if _is_pattern(event):
        raise ConfigurationError(
            f"{place} is a view for one event, and {event!r} is a pattern. Name an event, or use 'orbro.on'."
        )


def _check_wanted(place: str, event: Any, name: Any, value: Any) -> None:
    if event_named({"event": event}, "event") is None:
        raise ConfigurationError(f"{place} names no event of 1 to 255 printable characters.")
    is_filter = isinstance(name, str) and name != "" and _is_filter_value(value)
    if not is_filter and not (name is None and value is None):
        raise ConfigurationError(
            f"{place} needs both a 'property' and a 'value' of text, a finite number or a truth value."
        )


def _is_filter_value(value: Any) -> bool:
    try:
        return isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value))
    except OverflowError:  # a whole number that no float can hold
        return False


def _is_pattern(event: str) -> bool:
    return bool(_WILD & set(event))


def event_named(payload: Any, key: str) -> str | None:
    """The event that a payload names, or ``None``.

    :param key: a member's name, or several with dots between them: ``meta.event``.
    """
    name = reduce(
        lambda value, part: value.get(part) if isinstance(value, Mapping) else None, key.split("."), payload
    )
    if not isinstance(name, str) or not 0 < len(name) <= 255 or not name.isprintable():
        return None
    return name
