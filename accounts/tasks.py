"""Background jobs of accounts. Their arguments are ids: no payload holds a secret."""

from uuid import UUID

from accounts import browser_sessions, lockout, password_reset
from desproject.lib.clock import SYSTEM_CLOCK


def forget_old_tries() -> int:
    """Counters of failed log-ins, and wishes for new passwords, that decide nothing any more; answers how many went."""
    return lockout.forget_old_tries(SYSTEM_CLOCK.now()) + password_reset.forget_old_wishes()


def forget_ended_sessions() -> int:
    """Browser sessions and devices that can't come back; answers how many went."""
    return browser_sessions.forget_ended()


def mail_password_reset(wish_id: str) -> None:
    """Mails the token of one wish."""
    password_reset.mail_token(UUID(wish_id))
