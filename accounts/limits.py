"""How often one address, and one e-mail, may try to log in. Without Redis nobody may: guessing would be unlimited."""

import hashlib

import redis
from django_ratelimit.core import get_usage

from accounts.caller import Caller
from desproject.lib.api import ServiceUnavailable
from desproject.lib.errors import DomainError

PER_ADDRESS = "60/m"
PER_EMAIL = "20/m"
RESETS_PER_ADDRESS = "20/h"
RESETS_PER_EMAIL = "5/h"


class TooManyTries(DomainError):
    """Wait ``retry_after`` seconds."""

    code = "RATE_LIMITED"
    status = 429


def check_reset(caller: Caller, email: str | None) -> None:
    """Counts one wish for a new password, or one try of a token. Raises as ``check_login`` does."""
    counted = [("reset-address", caller.ip or "nowhere", RESETS_PER_ADDRESS)]
    if email is not None:
        counted.append(("reset-email", _person(email), RESETS_PER_EMAIL))
    _check(counted)


def check_login(caller: Caller, email: str) -> None:
    """Counts one try. Raises TooManyTries past the limit, ServiceUnavailable when nobody can count."""
    address = caller.ip or "nowhere"
    _check([("login-address", address, PER_ADDRESS), ("login-email", _person(email), PER_EMAIL)])


def _person(email: str) -> str:
    # Hashed: the counters needn't tell who has an account here.
    return hashlib.sha256(email.strip().lower().encode()).hexdigest()


def _check(counted: list[tuple[str, str, str]]) -> None:
    try:
        for group, key, rate in counted:
            _count(group, key, rate)
    except redis.RedisError:
        raise ServiceUnavailable("log-ins aren't possible right now, try again shortly", retry_after=5) from None


def _count(group: str, key: str, rate: str) -> None:
    # The key says who is counted: the library needs no request for that.
    usage = get_usage(None, group=group, key=lambda *_: key, rate=rate, increment=True)
    if usage is not None and usage["should_limit"]:
        # In its last second the window has none left, and "at once" would be wrong.
        raise TooManyTries("too many tries, wait a little", retry_after=max(1, usage["time_left"]))
