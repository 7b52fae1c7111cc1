"""Which accounts a feed's user stream must hear, and their keys. All of it runs in database threads."""

from dataclasses import dataclass
from uuid import UUID

from accounts.tenancy import everyone
from connections.exchanges import venues
from connections.models import Connection, ConnectionStatus, Mode


@dataclass(frozen=True, slots=True)
class AccountKey:
    """An account as it is now; a new ``version`` means a new key."""

    connection_id: UUID
    user_id: UUID
    version: int


def accounts_by_feed() -> dict[str, list[AccountKey]]:
    """The living connections of active users, by feed. Only of venues and modes that there are."""
    found: dict[str, list[AccountKey]] = {}
    with everyone():
        rows = Connection.objects.filter(
            is_deleted=False, status=ConnectionStatus.OK, user__is_active=True, user__is_deleted=False
        ).exclude(mode=Mode.PAPER)
        for row in rows.only("id", "user_id", "exchange", "mode", "credential_version"):
            found.setdefault(row.feed, []).append(AccountKey(row.pk, row.user_id, row.credential_version))
    return {feed: accounts for feed, accounts in found.items() if is_known_feed(feed)}


def is_known_feed(feed: str) -> bool:
    """Whether there is a venue that offers the feed's mode."""
    slug, _, mode = feed.rpartition(":")
    return slug in venues() and mode in venues()[slug].modes
