"""Where this process has its master keys, and how places of sealed values are named."""

from uuid import UUID

from django.conf import settings

from desproject.lib.crypto import Keyring, MasterKeyInvalid


def keyring() -> Keyring:
    """The master keys of this process. Raises MasterKeyInvalid where there are none."""
    if settings.KEYRING is None:
        raise MasterKeyInvalid("this process has no master key")
    found: Keyring = settings.KEYRING
    return found


def place(column: str, user_id: UUID, row_id: UUID) -> str:
    """A column (``connections.api_key``) of a row, as the associated data of its encryption (KEY-3)."""
    return f"{column}:{user_id}:{row_id}"
