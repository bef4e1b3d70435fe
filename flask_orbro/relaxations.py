"""What is less safe than it could be, said at start outside of dev."""

from __future__ import annotations

from collections.abc import Mapping

from .config import Config
from .connections import ConnectionDefinition
from .descriptor import Descriptor, base_url_fault
from .logs import get_logger

logger = get_logger(__name__)


def warn_of_relaxations(
    config: Config, descriptor: Descriptor, connections: Mapping[str, ConnectionDefinition]
) -> None:
    """Warn of each setting that relaxes security, cannot be meant, or is for tests; of nothing in ``dev``."""
    if config.env == "dev":
        return
    if config.install_proof == "none":
        logger.warning(
            "ORBRO_INSTALL_PROOF is 'none': whoever installs first for an organization is believed."
        )
    if config.trust_enabled_disabled:
        logger.warning("ORBRO_TRUST_ENABLED_DISABLED is on: anybody can say that an app is disabled.")
    if not config.webhook_require_exp:
        logger.warning("ORBRO_WEBHOOK_REQUIRE_EXP is off: a captured webhook token never expires.")
    if config.platform_scheme == "http":
        logger.warning("ORBRO_PLATFORM_SCHEME is 'http': credentials travel in clear.")
    if fault := base_url_fault(descriptor):
        logger.warning("%s: %s.", descriptor.name, fault)
    if config.worker == "inline":
        logger.warning("ORBRO_WORKER is 'inline', which is for tests: senders wait for the handlers.")
    for name, definition in connections.items():
        for relaxation in definition.relaxations:
            logger.warning("The connection '%s': %s.", name, relaxation)
