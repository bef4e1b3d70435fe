"""The state of the simulated platform, in memory."""

from __future__ import annotations

import secrets
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from .errors import SimulatorError
from .faults import Faults
from .models import Installation, Organization, RequestRecord, User, organization_label

_LOG_LENGTH = 1000
_COUNTED_PATHS = 10_000
_NOTES = 1000


class State:
    """Organizations, installations, faults and the request log. Thread-safe.

    :param clock: gives the time in seconds since the epoch.
    :param key: what the platform's own tokens are signed with; at least 32 bytes.
        Random by default.
    :param open_api_organization: subdomain of the developer's own organization.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        key: bytes | None = None,
        open_api_organization: str = "developer",
    ) -> None:
        self.clock = clock
        self.key = key or secrets.token_bytes(32)
        self.lock = threading.RLock()
        self.faults = Faults()
        self.requests: deque[RequestRecord] = deque(maxlen=_LOG_LENGTH)
        self.counts: Counter[str] = Counter()
        #: Of the stand-in that keeps notes.
        self.notes: deque[dict[str, str]] = deque(maxlen=_NOTES)
        self._organizations: dict[str, Organization] = {}
        self.open_api_owner = self.organization(open_api_organization)

    def organization(self, subdomain: str) -> Organization:
        """
        :param subdomain: name of the organization; it is created on first use.
        :returns: the organization; the same name gives the same ids in every run.
        :raises FieldError: the name is not a single DNS label.
        """
        label = organization_label(subdomain)
        with self.lock:
            if label not in self._organizations:
                self._organizations[label] = Organization.create(label)
            return self._organizations[label]

    def find_organization(self, subdomain: str) -> Organization | None:
        """:returns: the organization if it exists; none is created."""
        return self._organizations.get(subdomain)

    def user(self, organization: Organization, email: str | None = None) -> User:
        """
        :param email: whom to look for; ``None``: the administrator.
        :returns: that user of the organization.
        :raises SimulatorError: there is no such user.
        """
        with self.lock:
            for user in organization.users.values():
                if email is None or user["email"] == email:
                    return user
        raise SimulatorError(f"{organization.subdomain} has no user {email or 'at all'}")

    def installation(self, subdomain: str, app_url: str | None = None) -> Installation:
        """
        :param app_url: which app; ``None``: the only one of the organization.
        :returns: the installation, uninstalled ones included (``active`` tells).
        :raises SimulatorError: there is none, or ``app_url`` is needed to choose one.
        """
        organization = self.organization(subdomain)
        with self.lock:
            if app_url is not None:
                found = organization.installations.get(app_url.rstrip("/"))
                rows = [found] if found else []
            else:
                rows = list(organization.installations.values())
        if len(rows) == 1:
            return rows[0]
        if rows:
            raise SimulatorError(f"{organization.subdomain} has several apps: say which app_url")
        which = app_url or "any app"
        raise SimulatorError(f"{organization.subdomain} has not installed {which}: install it first")

    def put_installation(self, subdomain: str, row: Installation) -> Installation | None:
        """Put a row in place of the one for the same app. Its secret counts from here on.

        :returns: the row that was there before.
        """
        installations = self.organization(subdomain).installations
        with self.lock:
            before = installations.get(row.app_url)
            installations[row.app_url] = row
            return before

    def withdraw_installation(self, subdomain: str, row: Installation, before: Installation | None) -> None:
        """Undo :meth:`put_installation`, unless the row has been replaced since."""
        installations = self.organization(subdomain).installations
        with self.lock:
            if installations.get(row.app_url) is not row:
                return
            if before is None:
                del installations[row.app_url]
            else:
                installations[row.app_url] = before

    def change_installation(self, subdomain: str, app_url: str | None, **changes: Any) -> Installation:
        """:returns: the installation after the changes."""
        with self.lock:
            row = replace(self.installation(subdomain, app_url), **changes)
            self.put_installation(subdomain, row)
            return row

    def log(self, method: str, host: str, path: str, status: int, *, has_authorization: bool) -> None:
        """Remember a request that reached the platform."""
        record = RequestRecord(method, host, path, status, has_authorization, self.clock())
        with self.lock:
            self.requests.append(record)
            # Made-up paths must not grow the counter for ever.
            if path in self.counts or len(self.counts) < _COUNTED_PATHS:
                self.counts[path] += 1

    def add_note(self, text: str) -> dict[str, str]:
        """:returns: the note, with its id."""
        with self.lock:
            note = {"id": str(uuid.uuid4()), "text": text}
            self.notes.append(note)
            return note

    def reset_log(self) -> None:
        """Forget the requests and start the counters again at nought."""
        with self.lock:
            self.requests.clear()
            self.counts.clear()

    def snapshot(self) -> dict[str, Any]:
        """:returns: the whole state without any secret, ready for JSON."""
        with self.lock:
            return {
                "organizations": [_show(row) for row in self._organizations.values()],
                "open_api_organization": self.open_api_owner.subdomain,
                "faults": [asdict(fault) for fault in self.faults.active()],
                "requests": {"kept": len(self.requests), "by_path": dict(self.counts)},
            }


def _show(organization: Organization) -> dict[str, Any]:
    shown = ("id", "app_url", "client_id", "installed_user_id", "active", "enabled")
    return {
        "id": organization.id,
        "subdomain": organization.subdomain,
        "users": [dict(user) for user in organization.users.values()],
        "installations": [
            {name: getattr(row, name) for name in shown} for row in organization.installations.values()
        ],
    }
