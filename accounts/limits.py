"""How often one address, and one e-mail, may try to log in. Without Redis nobody may: guessing would be unlimited."""

import hashlib

import redis
from django.http import HttpRequest
from django_ratelimit.core import get_usage

from accounts.caller import caller_of
from desproject.lib.api import ServiceUnavailable
from desproject.lib.errors import DomainError

PER_ADDRESS = "60/m"
PER_EMAIL = "20/m"


class TooManyTries(DomainError):
    """Wait ``retry_after`` seconds."""

    code = "RATE_LIMITED"
    status = 429


def check_login(request: HttpRequest, email: str) -> None:
    """Counts one try. Raises TooManyTries past the limit, ServiceUnavailable when nobody can count."""
    address = caller_of(request).ip or "nowhere"
    # Hashed: the counters needn't tell who has an account here.
    person = hashlib.sha256(email.lower().encode()).hexdigest()
    try:
        for group, key, rate in (("login-address", address, PER_ADDRESS), ("login-email", person, PER_EMAIL)):
            _count(request, group, key, rate)
    except redis.RedisError:
        raise ServiceUnavailable("log-ins aren't possible right now, try again shortly", retry_after=5) from None


def _count(request: HttpRequest, group: str, key: str, rate: str) -> None:
    usage = get_usage(request, group=group, key=lambda *_: key, rate=rate, increment=True)
    if usage is not None and usage["should_limit"]:
        raise TooManyTries("too many tries, wait a little", retry_after=usage["time_left"])
