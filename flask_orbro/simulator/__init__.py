"""An imitation of the ORBRO platform, for development and tests. Never expose it.

It answers over real HTTP what the platform would answer, and calls apps as the platform would.
Whatever is not public about the platform is a guess here; the docstrings say which.
"""

from __future__ import annotations

from .app import create_app
from .errors import SimulatorError
from .platform import Platform
from .server import SimulatorServer

__all__ = ["Platform", "SimulatorError", "SimulatorServer", "create_app"]
