"""Hashing and judging passwords, without letting log-ins take the whole process."""

import contextlib
import threading
from collections.abc import Iterator
from functools import cache

from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from accounts.models import User
from desproject.lib.errors import InvalidInput

# Each hash takes 19 MiB and about 20 ms of a core. Two at once on two cores stalled everybody else, and let fewer in.
TURNS = 1
_turns = threading.BoundedSemaphore(TURNS)


class WeakPassword(InvalidInput):
    """The password is too short, common, or like the e-mail; ``fields`` has the reasons."""


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Waits until it is this thread's turn to hash; never inside a transaction, which others would wait for."""
    with _turns:
        yield


def hash_password(password: str) -> str:
    """The Argon2id hash of a password."""
    with turn():
        return make_password(password)


def matches(password: str, user: User | None) -> bool:
    """Whether this is the user's password. Takes as long when there is no such user, or one without a password.

    The caller has a ``turn``.
    """
    # Always asked for: the first call makes it, which mustn't tell the first unknown user from a known one.
    encoded = _hash_of_nobody()
    if user is not None and user.has_usable_password():
        encoded = user.password
    found = check_password(password, encoded)
    return found and user is not None and encoded == user.password


def require_strong(password: str, email: str, field: str) -> None:
    """Raises WeakPassword, whose ``fields`` names ``field``."""
    try:
        validate_password(password, User(email=email))
    except ValidationError as error:
        raise WeakPassword("this password is too weak", fields={field: list(error.messages)}) from error


@cache
def _hash_of_nobody() -> str:
    return make_password("nobody's password")
