"""Rate limits of the lifecycle paths, which anybody can call; off unless configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, Flask, request

from ..config import Config
from ..errors import ConfigurationError, TooManyRequests
from ..state import get_state
from .audit import audit

if TYPE_CHECKING:
    from flask_limiter import RequestLimit


def limit_lifecycle(app: Flask, blueprint: Blueprint, config: Config) -> None:
    """Apply ``ORBRO_LIFECYCLE_LIMIT`` to each lifecycle path of the blueprint, by client address.

    Behind a proxy the address is right only with werkzeug's ``ProxyFix``. Counts are in
    ``ORBRO_REDIS_URL``, else in the memory of each process.

    :raises ConfigurationError: where the extra is not installed, or the limit cannot be read.
    """
    if config.lifecycle_limit is None:
        return
    try:
        from flask_limiter import Limiter
        from flask_limiter.util import get_remote_address
        from limits import parse_many
    except ImportError:
        raise ConfigurationError(
            "ORBRO_LIFECYCLE_LIMIT is set, but Flask-Limiter is not installed. "
            "Install it with: pip install 'flask-orbro[limiter]'"
        ) from None
    try:
        parse_many(config.lifecycle_limit)
    except ValueError:
        raise ConfigurationError(
            f"ORBRO_LIFECYCLE_LIMIT must be a limit such as '30 per minute', not {config.lifecycle_limit!r}."
        ) from None
    limiter = Limiter(
        get_remote_address,
        app=app,
        storage_uri=config.redis_url or "memory://",
        headers_enabled=True,
        in_memory_fallback_enabled=config.redis_url is not None,
        key_prefix="orbro",
        on_breach=_record,
    )
    limiter.limit(config.lifecycle_limit)(blueprint)
    # Else a RATELIMIT_DEFAULT of the app's own limiter would be counted twice, on every route. The
    # descriptor is for anybody to read.
    limited = {f"{blueprint.name}.{name}" for name in get_state(app).descriptor.lifecycle}
    limiter.request_filter(lambda: request.endpoint not in limited)


def _record(limit: RequestLimit) -> None:
    audit(TooManyRequests(f"More than {limit.limit}.", reason="too_many_requests"))
