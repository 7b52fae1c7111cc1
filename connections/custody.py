"""Custody of API keys: sealed before they reach the database, opened only where a gateway or stream needs them.

Each ciphertext is tied to tenant, row and column, so that one moved to another row doesn't open (KEY-3).
"""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from accounts import unreadable
from audit.record import record
from connections.gateways import Credentials
from connections.models import Connection
from desproject.lib.crypto import CustodyError, Keyring, MasterKeyInvalid, version_of
from desproject.lib.custody import keyring as keyring_of_process
from desproject.lib.custody import place
from desproject.lib.errors import DomainError

_SHOWN = 4
# So short that four characters of it would give too much away.
_TOO_SHORT_TO_SHOW = 12


class CredentialsUnreadable(DomainError):
    """The stored key can't be opened: its master key is missing, or the row was tampered with."""

    code = "CREDENTIALS_UNREADABLE"
    status = 500


@dataclass(frozen=True, slots=True)
class SealedCredentials:
    """What a connection's row stores of a key: ciphertexts, mask, and the master key version."""

    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)
    masked: str
    key_version: int

    def store_in(self, connection: Connection) -> None:
        """Sets the row's columns; the caller saves, and raises ``credential_version`` when it replaces a key."""
        connection.api_key_sealed = self.api_key
        connection.api_secret_sealed = self.api_secret
        connection.api_key_masked = self.masked
        connection.key_version = self.key_version


def key_place(user_id: UUID, connection_id: UUID) -> str:
    """Where an API key is stored, as the associated data of its encryption."""
    return place("connections.api_key", user_id, connection_id)


def secret_place(user_id: UUID, connection_id: UUID) -> str:
    """Where an API secret is stored, as the associated data of its encryption."""
    return place("connections.api_secret", user_id, connection_id)


def seal_credentials(
    credentials: Credentials, *, user_id: UUID, connection_id: UUID, exchange: str, keyring: Keyring | None = None
) -> SealedCredentials:
    """Encrypts a key for one row under the newest master key."""
    keys = keyring or _keyring()
    sealed_key = keys.seal(credentials.api_key, key_place(user_id, connection_id))
    sealed_secret = keys.seal(credentials.api_secret, secret_place(user_id, connection_id))
    return SealedCredentials(sealed_key, sealed_secret, mask(credentials.api_key, exchange), version_of(sealed_key))


def open_credentials(connection: Connection, *, keyring: Keyring | None = None) -> Credentials:
    """Decrypts a row's key; for use there is ``read_credentials``, which audits it.

    Raises CredentialsUnreadable, whose text holds neither key nor ciphertext.
    """
    keys = keyring or _keyring()
    try:
        return Credentials(
            keys.open(connection.api_key_sealed, key_place(connection.user_id, connection.pk)),
            keys.open(connection.api_secret_sealed, secret_place(connection.user_id, connection.pk)),
            tenant=str(connection.user_id),
            connection=str(connection.pk),
        )
    except CustodyError as error:
        raise CredentialsUnreadable(f"the stored key can't be opened: {error}") from None


def read_credentials(connection: Connection, use: str) -> Credentials:
    """Decrypts a row's key for use, and audits that; a key that can't be opened is audited too.

    Not inside a transaction, which the error would roll back. Raises CredentialsUnreadable.
    """
    about: dict[str, Any] = {
        "user_id": connection.user_id, "resource_type": "connection", "resource_id": connection.pk,
    }
    try:
        credentials = open_credentials(connection)
    except CredentialsUnreadable as error:
        unreadable.tell("api_key.unreadable", **about, use=use, reason=error.message)
        raise
    record("api_key.accessed", **about, details={"use": use})
    return credentials


def mask(api_key: str, exchange: str) -> str:
    """What people see of a key: ``BINANCE_***_abcd``; of a short key nothing but the exchange."""
    shown = api_key[-_SHOWN:] if len(api_key) >= _TOO_SHORT_TO_SHOW else ""
    return f"{exchange.split('_')[0].upper()}_***_{shown}"


def _keyring() -> Keyring:
    try:
        return keyring_of_process()
    except MasterKeyInvalid as error:
        raise CredentialsUnreadable(str(error)) from None
