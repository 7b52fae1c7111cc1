"""Authenticated encryption of small secrets under versioned master keys (KEY-1 to KEY-3).

Text format: ``ENC[v1]:base64(nonce + ciphertext + tag)``; AES-256-GCM, a random 96-bit nonce for each call. The
associated data ties a ciphertext to the place where it is stored: moved elsewhere, it doesn't decrypt.
"""

import base64
import binascii
import os
import re
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
_NONCE_BYTES = 12
_FINGERPRINT_BYTES = 8
# What every sealed text begins with.
SEALED = "ENC[v"
_SEALED = re.compile(r"ENC\[v(\d{1,6})\]:([A-Za-z0-9+/]+=*)")


class CustodyError(Exception):
    """A secret can't be sealed or opened. The message never holds key or secret material."""


class MasterKeyInvalid(CustodyError):
    """A master key is missing, too short or not base64/hex of 32 bytes."""


class UnknownKeyVersion(CustodyError):
    """The ciphertext names a master key version that this process doesn't have."""


class Undecryptable(CustodyError):
    """The ciphertext was altered, moved to another place, or sealed under another key."""


def parse_master_key(text: str) -> bytes:
    """32 bytes from 64 hex digits or from base64. Raises MasterKeyInvalid."""
    text = text.strip()
    try:
        key = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise MasterKeyInvalid("not base64 or hex") from None
    if len(key) != KEY_BYTES:
        raise MasterKeyInvalid(f"must be {KEY_BYTES} bytes, this one has {len(key)}")
    return key


def new_master_key() -> str:
    """A fresh random master key, base64."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


class Keyring:
    """The master keys of this process by version; the highest version seals."""

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        if not keys:
            raise MasterKeyInvalid("no master key")
        self._keys = dict(keys)
        self.newest = max(self._keys)

    def __repr__(self) -> str:
        return f"<Keyring versions={sorted(self._keys)}>"

    def __reduce__(self) -> str:
        raise TypeError("a keyring can't be pickled")

    def seal(self, secret: str, place: str) -> str:
        """Encrypts ``secret`` for ``place`` (for example ``connections.api_key:<user>:<row>``)."""
        nonce = os.urandom(_NONCE_BYTES)
        body = nonce + AESGCM(self._keys[self.newest]).encrypt(nonce, secret.encode(), place.encode())
        return f"{sealed_under(self.newest)}{base64.b64encode(body).decode()}"

    def open(self, sealed: str, place: str) -> str:
        """Decrypts. Raises UnknownKeyVersion, Undecryptable."""
        version, body = _parse(sealed)
        key = self._keys.get(version)
        if key is None:
            raise UnknownKeyVersion(f"no master key of version {version}")
        try:
            return AESGCM(key).decrypt(body[:_NONCE_BYTES], body[_NONCE_BYTES:], place.encode()).decode()
        except (InvalidTag, ValueError):
            raise Undecryptable(f"ciphertext doesn't belong to {place.split(':')[0]} of this row") from None

    def derive(self, purpose: str) -> bytes:
        """32 bytes for another purpose, by HKDF from the oldest master key, so that rotation doesn't change it."""
        return _derived(self._keys[min(self._keys)], purpose, KEY_BYTES)

    def fingerprints(self) -> dict[int, str]:
        """By version: what tells two keys of one version apart, and nothing about the keys themselves."""
        return {version: _derived(key, "fingerprint", _FINGERPRINT_BYTES).hex() for version, key in self._keys.items()}


def sealed_under(version: int) -> str:
    """What every text that is sealed under this version begins with."""
    return f"{SEALED}{version}]:"


def _derived(root: bytes, purpose: str, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=purpose.encode()).derive(root)


def version_of(sealed: str) -> int:
    """The master key version that a ciphertext names."""
    return _parse(sealed)[0]


def _parse(sealed: str) -> tuple[int, bytes]:
    match = _SEALED.fullmatch(sealed)
    if match is None:
        raise Undecryptable("not in the ENC[v…]: format")
    try:
        body = base64.b64decode(match[2], validate=True)
    except (ValueError, binascii.Error):
        raise Undecryptable("not valid base64") from None
    if len(body) <= _NONCE_BYTES:
        raise Undecryptable("too short")
    return int(match[1]), body
