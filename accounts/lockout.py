"""How often a password may be guessed (ACC-3): counted per e-mail and per address, in the database.

E-mails that nobody has are counted and locked like all others, so a lock tells nothing about who has an account.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Max

from accounts.caller import Caller, network_of
from accounts.models import LoginTries, User

_ACCOUNT, _ADDRESS = "account", "address"


def locked_for(email: str, caller: Caller, now: datetime) -> float | None:
    """Seconds until this e-mail may be tried from this address, None when at once."""
    locked = LoginTries.objects.filter(pk__in=_subjects(email, caller), locked_until__gt=now)
    until: datetime | None = locked.aggregate(until=Max("locked_until"))["until"]
    return None if until is None else (until - now).total_seconds()


def count_failure(email: str, caller: Caller, now: datetime) -> list[str]:
    """Counts a wrong or refused try; answers what it locked: "account", "address". Runs inside a transaction."""
    subjects = _subjects(email, caller)
    # All lock the rows in the same order, so that nobody waits in a circle.
    LoginTries.objects.bulk_create([LoginTries(subject=key) for key in sorted(subjects)], ignore_conflicts=True)
    locked = []
    for row in LoginTries.objects.select_for_update().filter(pk__in=subjects).order_by("pk"):
        kind = subjects[row.pk]
        if _count(row, _limit(kind), now):
            locked.append(kind)
        row.save()
        if kind == _ACCOUNT:
            _show_on_user(email, row)
    return locked


def unlock(email: str) -> None:
    """Forgets every failure of an e-mail; those of addresses stay, or own log-ins would win an attacker new tries."""
    LoginTries.objects.filter(pk=_email_key(email)).delete()
    _show_on_user(email, LoginTries())


def forget_old_tries(now: datetime) -> int:
    """Removes the counters that decide nothing any more; answers how many."""
    longest = timedelta(minutes=settings.CONFIG.lockout_longest_minutes)
    with transaction.atomic():
        # Locked by a log-in means in use: that one isn't old any more.
        old = LoginTries.objects.filter(last_failed_at__lt=now - 2 * longest).select_for_update(skip_locked=True)
        return LoginTries.objects.filter(pk__in=list(old.values_list("pk", flat=True))).delete()[0]


def _subjects(email: str, caller: Caller) -> dict[str, str]:
    """What is counted, by its key: this e-mail, and this address where it is known."""
    subjects = {_email_key(email): _ACCOUNT}
    if caller.ip is not None:
        subjects[f"address:{network_of(caller.ip)}"] = _ADDRESS
    return subjects


def _count(row: LoginTries, limit: int, now: datetime) -> bool:
    """Counts one more failure; whether it locks. While locked no further one counts towards the next lock."""
    row.failed, row.last_failed_at = row.failed + 1, now
    if row.locked_until is not None:
        if row.locked_until > now:
            return False
        if now - row.locked_until > timedelta(minutes=settings.CONFIG.lockout_longest_minutes):
            row.locks = 0
        row.locked_until, row.recent = None, []
    since = now - timedelta(minutes=settings.CONFIG.lockout_window_minutes)
    row.recent = [*(second for second in row.recent if second > since.timestamp()), now.timestamp()]
    if len(row.recent) < limit:
        return False
    row.locks += 1
    row.locked_until = now + _length(row.locks)
    return True


def _length(locks: int) -> timedelta:
    """How long the lock lasts that is the so-many-th in a row."""
    config = settings.CONFIG
    doubled = config.lockout_minutes * 2 ** min(locks - 1, 30)
    return timedelta(minutes=min(doubled, max(config.lockout_longest_minutes, config.lockout_minutes)))


def _limit(kind: str) -> int:
    config = settings.CONFIG
    return int(config.lockout_account_tries if kind == _ACCOUNT else config.lockout_address_tries)


def _show_on_user(email: str, row: LoginTries) -> None:
    """Operators read it there. The same statement whether anybody has this e-mail or not."""
    User.objects.with_email(email).update(
        failed_attempts=row.failed, last_failed_at=row.last_failed_at, locked_until=row.locked_until
    )


def _email_key(email: str) -> str:
    return f"email:{email.strip().lower()}"[:270]
