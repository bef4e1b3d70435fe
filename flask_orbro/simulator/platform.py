"""The simulated platform."""

from __future__ import annotations

from .deliveries import Deliveries


class Platform(Deliveries):
    """The platform in one object: what it knows, what it signs and what it does to apps.

    Thread-safe and in memory; every instance is a platform of its own.

    :param clock: gives the time in seconds since the epoch; move it to let tokens expire.
    :param key: what the platform's own tokens are signed with; random by default.
    :param open_api_organization: subdomain of the developer's own organization.
    :param app_timeout: seconds that an app has to answer.
    """
