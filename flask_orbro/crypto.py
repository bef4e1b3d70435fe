"""Keys derived from the client secret, and values sealed with them."""

from __future__ import annotations

import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE = 12


def derive_key(client_secret: str, purpose: str) -> bytes:
    """A 32-byte key for one purpose, the same in every process of the app."""
    kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"flask-orbro:" + purpose.encode())
    return kdf.derive(client_secret.encode())


class KeyedHash:
    """Names that tell nothing of what they name: cache keys and claim digests.

    :param key: 32 bytes, from :func:`derive_key`.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, *parts: str) -> str:
        """A hex digest of the parts, each with its length, so that no two lists collide."""
        message = b"".join(len(part).to_bytes(4, "big") + part for part in (text.encode() for text in parts))
        return hmac.digest(self._key, message, "sha256").hex()


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
