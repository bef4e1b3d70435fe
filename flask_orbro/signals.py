"""Signals, sent after the change they tell of is committed. The sender is the Flask app.

Those of an app carry ``organization``, an :class:`~flask_orbro.installation.OrganizationInfo`.
"""

from __future__ import annotations

from blinker import Namespace

_signals = Namespace()

#: An install was proven: an organization is active, with a new or a rotated secret.
app_installed = _signals.signal("app-installed")
#: An uninstall was proven: the secret is erased.
app_uninstalled = _signals.signal("app-uninstalled")
#: All that is kept about an organization is being erased: what the app keeps besides is to go too. It is
#: sent again an hour later where a receiver has raised, and where the process has died meanwhile.
app_erased = _signals.signal("app-erased")
#: The platform said so; it cannot be proven.
app_enabled = _signals.signal("app-enabled")
#: The platform said so; it cannot be proven.
app_disabled = _signals.signal("app-disabled")

#: A delivery was given up; carries ``delivery``, a :class:`~flask_orbro.Delivery`, and the last ``error``.
delivery_dead = _signals.signal("delivery-dead")
