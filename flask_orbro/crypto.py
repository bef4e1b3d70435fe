"""Keys derived from the client secret, values sealed with them, and the key ring for secrets at rest."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE = 12
#: Begins every value that a key ring has written; the id of its key follows.
MARK = "orbro1:"
#: Length of a key's id, in hex digits.
KEY_ID = 8


def derive_key(client_secret: str, purpose: str) -> bytes:
    """A 32-byte key for one purpose, the same in every process of the app."""
    kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"flask-orbro:" + purpose.encode())
    return kdf.derive(client_secret.encode())


def _joined(parts: Sequence[str]) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in (text.encode() for text in parts))


class KeyedHash:
    """Names that tell nothing of what they name: cache keys and claim digests.

    :param key: 32 bytes, from :func:`derive_key`.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, *parts: str) -> str:
        """A hex digest of the parts, each with its length, so that no two lists collide."""
        return hmac.digest(self._key, _joined(parts), "sha256").hex()


class Sealer:
    """Encrypts and authenticates values that others may read or write (AES-256-GCM).

    :param key: 32 bytes, from :func:`derive_key`.
    """

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal(self, value: bytes, bound_to: str) -> bytes:
        """:param bound_to: the place the value is kept at; it opens nowhere else."""
        nonce = os.urandom(_NONCE)
        return nonce + self._aead.encrypt(nonce, value, bound_to.encode())

    def open(self, sealed: bytes, bound_to: str) -> bytes | None:
        """:returns: the value, or ``None`` where it was not sealed by us for this place."""
        try:
            return self._aead.decrypt(sealed[:_NONCE], sealed[_NONCE:], bound_to.encode())
        except (InvalidTag, ValueError):
            return None


class Unreadable(Exception):
    """A value at rest that this key ring cannot read. The message says why, and shows nothing of it."""


class KeyRing:
    """Encrypts secrets at rest (AES-256-GCM), each bound to its place: it opens nowhere else.

    :param keys: 32 bytes each, newest first. The newest writes, all of them read.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {key_id(key): AESGCM(key) for key in keys}
        self._newest = key_id(keys[0])

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the keys, newest first."""
        return tuple(self._keys)

    def encrypt(self, text: str, place: Sequence[str]) -> str:
        """:param place: table, row and column that the value is written to."""
        nonce = os.urandom(_NONCE)
        sealed = self._keys[self._newest].encrypt(nonce, text.encode(), _joined(place))
        return f"{MARK}{self._newest}:{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def decrypt(self, written: str, place: Sequence[str]) -> str:
        """:raises Unreadable: it was not written here for this place, or with a key that is not there."""
        if not is_encrypted(written):
            raise Unreadable("it is not encrypted")
        written_with, _, encoded = written.removeprefix(MARK).partition(":")
        key = self._keys.get(written_with)
        if key is None:
            raise Unreadable(f"the key {written_with[:KEY_ID]!a} is not in ORBRO_ENCRYPTION_KEYS")
        try:
            sealed = base64.b64decode(encoded, altchars=b"-_", validate=True)
            return key.decrypt(sealed[:_NONCE], sealed[_NONCE:], _joined(place)).decode()
        except (InvalidTag, ValueError):
            raise Unreadable("it was written for another row, or altered") from None


def key_id(key: bytes) -> str:
    """What a key is called in the values it has written: it tells nothing of the key."""
    return hashlib.sha256(b"flask-orbro:key-id:" + key).hexdigest()[:KEY_ID]


def new_key() -> str:
    """A random key as ``ORBRO_ENCRYPTION_KEYS`` takes it: 32 bytes in base64."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def is_encrypted(written: str) -> bool:
    """Whether some key ring has written a value; the old SDK wrote plain text."""
    return written.startswith(MARK)
