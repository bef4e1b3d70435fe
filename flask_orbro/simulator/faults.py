"""Faults that can be switched on while the simulator runs."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .errors import FieldError
from .models import organization_label

MAX_DELAY = 600.0


@dataclass(frozen=True)
class Fault:
    """What happens instead of, or before, the true answer. See :meth:`Faults.set`."""

    prefix: str = ""
    organization: str | None = None
    status: int | None = None
    body: Any = None
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drop: bool = False
    redirect: str | None = None
    times: int | None = None

    @property
    def answers(self) -> bool:
        """Whether the fault replaces the answer; otherwise it only delays it."""
        return self.status is not None or self.body is not None or self.redirect is not None


class Faults:
    """The faults in force. Thread-safe; the most exact one wins."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: tuple[Fault, ...] = ()

    def set(
        self,
        prefix: str = "",
        *,
        organization: str | None = None,
        status: int | None = None,
        body: Any = None,
        content_type: str | None = None,
        headers: Mapping[str, str] | None = None,
        delay: float = 0.0,
        drop: bool = False,
        redirect: str | None = None,
        times: int | None = None,
    ) -> Fault:
        """Switch a fault on, in place of one with the same ``prefix`` and ``organization``.

        :param prefix: beginning of the paths it is for; empty: all. Never ``/simulator``.
        :param organization: only on this organization's host; ``None``: on all hosts.
        :param status: HTTP status to answer with, 200 to 599.
        :param body: a string to send as it is (HTML by default), or a value to send as JSON.
        :param content_type: of the body.
        :param headers: more headers, such as ``Retry-After``.
        :param delay: seconds to wait first, at most 600; alone, the true answer follows.
        :param drop: close the connection without an answer.
        :param redirect: a ``Location`` to send, with 302 unless ``status`` says otherwise.
        :param times: how many requests it is for; ``None``: until it is cleared.
        :raises FieldError: a value is wrong.
        """
        _check_numbers(status, delay, times)
        checked = {str(name): str(value) for name, value in (headers or {}).items()}
        for name, text in (("content_type", content_type), ("redirect", redirect)):
            _check_header(name, text)
        for name, text in checked.items():
            _check_header("headers", name)
            _check_header("headers", text)
        if organization is not None:
            organization = organization_label(organization)
        fault = Fault(prefix, organization, status, body, content_type, checked, delay, drop, redirect, times)
        if not (fault.answers or fault.drop or fault.delay):
            raise FieldError("status", "or body, redirect, delay or drop is needed")
        with self._lock:
            self._faults = (*self._without(prefix, organization), fault)
        return fault

    def clear(self, prefix: str | None = None, *, organization: str | None = None) -> None:
        """Switch off the fault with this prefix and organization; without a prefix, all of them."""
        if organization is not None:
            organization = organization_label(organization)
        with self._lock:
            self._faults = () if prefix is None else self._without(prefix, organization)

    def active(self) -> tuple[Fault, ...]:
        """:returns: the faults in force."""
        return self._faults

    def match(self, path: str, organization: str | None) -> Fault | None:
        """Find the fault for a request, and count it where it is for some requests only.

        :param path: path of the request.
        :param organization: subdomain it is for; ``None`` on the platform's root host.
        :returns: the fault with the longest prefix, one for this organization before one for all.
        """
        if not self._faults:
            return None
        with self._lock:
            fitting = [
                fault
                for fault in self._faults
                if path.startswith(fault.prefix) and fault.organization in (None, organization)
            ]
            if not fitting:
                return None
            fault = max(fitting, key=lambda f: (len(f.prefix), f.organization is not None))
            if fault.times is not None:
                self._count_down(fault, fault.times - 1)
            return fault

    def _count_down(self, fault: Fault, left: int) -> None:
        others = self._without(fault.prefix, fault.organization)
        self._faults = (*others, replace(fault, times=left)) if left else others

    def _without(self, prefix: str, organization: str | None) -> tuple[Fault, ...]:
        return tuple(f for f in self._faults if (f.prefix, f.organization) != (prefix, organization))


def _check_numbers(status: int | None, delay: float, times: int | None) -> None:
    if status is not None and not 200 <= status <= 599:
        raise FieldError("status", "must be from 200 to 599")
    if not (math.isfinite(delay) and 0 <= delay <= MAX_DELAY):
        raise FieldError("delay", f"must be from 0 to {MAX_DELAY:.0f} seconds")
    if times is not None and times < 1:
        raise FieldError("times", "must be at least 1")


def _check_header(field_name: str, text: str | None) -> None:
    # A line break would let a fault write further headers, or break the answer apart.
    if text is not None and not (text.isascii() and text.isprintable()):
        raise FieldError(field_name, "must be printable ASCII")
