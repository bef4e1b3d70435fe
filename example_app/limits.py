"""How often a password may be tried or set, which costs a hash each time."""

from __future__ import annotations

import time

from flask import Flask, current_app, request
from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage, storage_from_string
from limits.strategies import MovingWindowRateLimiter

from flask_orbro import ConfigurationError

from .errors import TooManyAttempts
from .outage import Outage

_EXTENSION = "example_limits"


def init_limits(app: Flask) -> None:
    """
    :raises ConfigurationError: a limit cannot be read.
    """
    app.extensions[_EXTENSION] = Limits(app)


class Limits:
    """Counts in Redis, for all processes, where it is configured; while that is gone, each for itself."""

    def __init__(self, app: Flask) -> None:
        self._prefix = app.config["CACHE_KEY_PREFIX"]
        self._per_address = _parse(app, "ATTEMPTS_PER_ADDRESS")
        self._per_account = _parse(app, "ATTEMPTS_PER_ACCOUNT")
        options = app.config["ATTEMPTS_STORAGE_OPTIONS"]
        shared = storage_from_string(app.config["ATTEMPTS_STORAGE"], **options)
        self._shared = MovingWindowRateLimiter(shared)
        self._own = MovingWindowRateLimiter(MemoryStorage())
        self._outage = Outage("The storage of attempts")

    def count(self, address: str, account: str | None) -> None:
        """:raises TooManyAttempts: one that the address may not make does not count for the account."""
        for limit in self._per_address:
            self._count(limit, "address", address)
        if account is not None:
            for limit in self._per_account:
                self._count(limit, "account", account)

    def _count(self, limit: RateLimitItem, *key: str) -> None:
        again_at = self._outage.ask(
            lambda: self._exceeded(self._shared, limit, *key),
            lambda: self._exceeded(self._own, limit, *key),
        )
        if again_at is not None:
            raise TooManyAttempts("Too many attempts; try again later.", retry_after=again_at - time.time())

    def _exceeded(self, counter: MovingWindowRateLimiter, limit: RateLimitItem, *key: str) -> float | None:
        """When to try again, where the limit is exceeded."""
        key = (self._prefix, *key)
        return None if counter.hit(limit, *key) else counter.get_window_stats(limit, *key).reset_time


def count_attempt(account: str | None = None) -> None:
    """Count an attempt from the caller's address, and on an account.

    :param account: as it is looked up, so that no other spelling of it counts anew.
    :raises TooManyAttempts: 429, with ``Retry-After``.
    """
    # Behind a proxy the address is right only where TRUSTED_PROXIES says so.
    current_app.extensions[_EXTENSION].count(request.remote_addr or "", account)


def _parse(app: Flask, setting: str) -> list[RateLimitItem]:
    try:
        return parse_many(app.config[setting])
    except ValueError:
        raise ConfigurationError(
            f"{setting} must be limits such as '10 per minute; 100 per hour', not {app.config[setting]!r}."
        ) from None
