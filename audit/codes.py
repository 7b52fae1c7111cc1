"""What the audit log is authenticated with: HMAC-SHA256 under the installation's audit key, as hex digits."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from accounts.stored_keys import stored_key
from accounts.unreadable import SecretUnreadable
from desproject.lib.crypto import CustodyError

if TYPE_CHECKING:
    from audit.models import AuditLog, AuditPurge

# What the first seal follows.
NO_LINK = "0" * 64
_NONCE_DIGITS = 16


def row_code(row: "AuditLog", nonce: str = "") -> str:
    """Authenticates everything that the row says. Its id isn't known yet when this is written: the seal binds that.

    Begins with ``nonce``, fresh unless given: two rows that say the same have different codes, so a copy shows.
    """
    nonce = nonce or secrets.token_hex(_NONCE_DIGITS // 2)
    said = [
        nonce,
        str(row.user_id or ""),
        row.event_type,
        row.resource_type,
        row.resource_id,
        str(ip_address(row.ip)) if row.ip else "",
        row.user_agent,
        _canonical(row.details),
        _microseconds(row.created_at),
    ]
    return nonce + _hmac("row", json.dumps(said, sort_keys=True, separators=(",", ":")))[_NONCE_DIGITS:]


def fits(row: "AuditLog") -> bool:
    """Whether the row says what it said when DES wrote it."""
    return hmac.compare_digest(row_code(row, row.code[:_NONCE_DIGITS]), row.code)


def link_code(number: int, before: str, audit_log_id: int, code: str) -> str:
    """Binds the ``number``-th row to the link before it."""
    return _hmac("link", f"{number}|{before}|{audit_log_id}|{code}")


def purge_code(purge: "AuditPurge", audit_log_ids: Iterable[int]) -> str:
    """Authenticates a purge with the rows it removed (ids ascending)."""
    said = f"{purge.user_id or ''}|{purge.reason}|{purge.rows}|{_microseconds(purge.purged_at)}"
    return _hmac("purge", f"{said}|{','.join(map(str, audit_log_ids))}")


def _hmac(purpose: str, text: str) -> str:
    try:
        key = bytes.fromhex(stored_key("audit_key"))
    except CustodyError as error:
        # Not audited: without this key no row can be written. What was to be recorded fails with it.
        raise SecretUnreadable(f"the audit log's key can't be opened: {error}") from None
    return hmac.new(key, f"{purpose}|{text}".encode(), hashlib.sha256).hexdigest()


def _microseconds(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _canonical(value: Any) -> Any:
    """The same for a value and for what a database makes of it: PostgreSQL writes 1e22 as an integer."""
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{(Decimal(repr(value)) + 0).normalize():f}"
    return value
