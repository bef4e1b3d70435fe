"""Whom a ``Host`` header names."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from .errors import FieldError
from .models import is_label


class Place(NamedTuple):
    """What a host stands for.

    :param kind: ``"root"``, ``"organization"``, ``"loopback"`` or ``"unknown"``.
    :param subdomain: the organization's, where ``kind`` is ``"organization"``.
    """

    kind: str
    subdomain: str | None = None


class Hosts:
    """Tells the platform's root from its organizations.

    :param base_name: name of the platform's root, without a port.
    :raises FieldError: it is not a DNS name.
    """

    def __init__(self, base_name: str) -> None:
        self.base_name = base_name.lower()
        if not all(is_label(label) for label in self.base_name.split(".")):
            raise FieldError("base_name", f"must be a DNS name without a port, got {base_name!r}")
        self.find = lru_cache(maxsize=1024)(self._find)

    def of_origin(self, origin: str) -> Place:
        """:returns: what an origin such as ``http://acme.orbro.localhost:8001`` names."""
        try:
            parts = urlsplit(origin)
            named = parts.scheme in ("http", "https") and parts.path in ("", "/")
        except ValueError:
            named = False
        return self.find(parts.netloc) if named else Place("unknown")

    def _find(self, host: str) -> Place:
        name = _without_port(host.lower())
        if name == self.base_name:
            return Place("root")
        if is_loopback(name):
            return Place("loopback")
        label, _, rest = name.partition(".")
        if rest == self.base_name and is_label(label):
            return Place("organization", label)
        return Place("unknown")


def is_loopback(name: str) -> bool:
    """:returns: whether the name or address is this machine's own, told without a resolver."""
    if name in ("localhost", "::1"):
        return True
    parts = name.split(".")
    return (
        len(parts) == 4
        and parts[0] == "127"
        and all(part.isascii() and part.isdigit() and int(part) < 256 for part in parts)
    )


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
