"""Where the key ring comes from: the setting, or in development a file that is made once."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from . import checks
from .config import INSTANCE_FILE, Config
from .crypto import KeyRing, new_key
from .errors import ConfigurationError
from .logs import get_logger

logger = get_logger(__name__)

#: The key of an app in development that sets none.
KEY_FILE = "orbro.keys"


def open_key_ring(config: Config, instance_path: str | Path) -> KeyRing:
    """The key ring of ``ORBRO_ENCRYPTION_KEYS``; in ``dev`` without it, of a file in the instance folder.

    :raises ConfigurationError: where keys are missing outside of ``dev``, or the file is of no use.
    """
    folder = Path(instance_path)
    if config.encryption_keys:
        ring = KeyRing(config.encryption_keys)
        _tell_of_a_key_left_behind(folder / KEY_FILE, ring)
        return ring
    if config.env != "dev":
        raise ConfigurationError(
            "ORBRO_ENCRYPTION_KEYS is missing: outside 'dev', no secret is kept without a key of your own. "
            "'flask orbro new-key' prints one, and 'flask orbro init' writes one into a new "
            f"{folder / INSTANCE_FILE}. Keep it where a copy of the database does not reach it."
        )
    path = folder / KEY_FILE
    try:
        key = _key_of(path)
    except OSError as error:
        raise ConfigurationError(
            f"The key file {path} cannot be used: {error.strerror}. Make the instance folder writable, or "
            "set ORBRO_ENCRYPTION_KEYS."
        ) from None
    except ValueError:
        raise ConfigurationError(f"{path} holds no keys as ORBRO_ENCRYPTION_KEYS takes them.") from None
    logger.warning("ORBRO_ENCRYPTION_KEYS is not set: secrets are encrypted with the key in %s.", path)
    return KeyRing(key)


def _tell_of_a_key_left_behind(path: Path, ring: KeyRing) -> None:
    """What was encrypted before the setting was made needs the key of the file still."""
    try:
        missing = path.is_file() and not set(KeyRing(checks.keys(path.read_text().strip())).ids) <= set(
            ring.ids
        )
    except (OSError, ValueError):
        return
    if missing:
        logger.warning(
            "%s holds a key that ORBRO_ENCRYPTION_KEYS lacks: what it has encrypted cannot be read. "
            "Add it as the last, or remove the file.",
            path,
        )


def _key_of(path: Path) -> tuple[bytes, ...]:
    if not path.exists():
        _make(path)
    return checks.keys(path.read_text().strip())


def _make(path: Path) -> None:
    """Write a key for its owner alone; of processes that start at once, one is first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(new_key() + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # whole or not at all, and never over another
    finally:
        draft.unlink()
