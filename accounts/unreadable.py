"""Sealed values that can't be opened: each is named in the audit log (KEY-3), and not again for a minute.

Who needs one tries again and again, and the log can never shrink.
"""

from typing import Any
from uuid import UUID

from accounts import journal
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.crypto import CustodyError
from desproject.lib.errors import DomainError

_TELL_AGAIN_SECONDS = 60.0
# When each was last told.
_told: dict[tuple[str, str], float] = {}


class SecretUnreadable(DomainError):
    """A stored secret can't be opened: its master key is missing, or the row was tampered with."""

    code = "SECRET_UNREADABLE"
    status = 500


def tell(event: str, *, user_id: UUID | None, resource_type: str, resource_id: object, **details: Any) -> None:
    """Audits it, where that is news. Not inside a transaction, which the error would roll back."""
    if _is_news((resource_type, str(resource_id))):
        journal.record(
            event, user_id=user_id, resource_type=resource_type, resource_id=resource_id, details=details
        )


def secret_unreadable(
    error: CustodyError, *, user_id: UUID | None, resource_type: str, resource_id: object
) -> SecretUnreadable:
    """Audits it, and is the error to raise: its text holds no ciphertext."""
    tell(
        "secret.unreadable", user_id=user_id, resource_type=resource_type, resource_id=resource_id, reason=str(error)
    )
    return SecretUnreadable(f"a stored secret can't be opened: {error}")


def _is_news(which: tuple[str, str]) -> bool:
    now = SYSTEM_CLOCK.monotonic()
    for known in [known for known, at in _told.copy().items() if now - at >= _TELL_AGAIN_SECONDS]:
        _told.pop(known, None)
    return _told.setdefault(which, now) == now
