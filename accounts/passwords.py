"""Hashing and judging passwords, without letting log-ins take the whole process."""

import threading
from functools import cache

from django.contrib.auth.hashers import check_password, make_password
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from accounts.models import User
from desproject.lib.errors import InvalidInput

# Each hash takes 19 MiB and about 20 ms of a core: more at once would only stall everybody else.
_HASHING = threading.BoundedSemaphore(2)


class WeakPassword(InvalidInput):
    """The password is too short, common, or like the e-mail; ``fields`` has the reasons."""


def hash_password(password: str) -> str:
    """The Argon2id hash of a password."""
    with _HASHING:
        return make_password(password)


def matches(password: str, user: User | None) -> bool:
    """Whether this is the user's password. Takes as long when there is no such user."""
    encoded = user.password if user is not None else _hash_of_nobody()
    with _HASHING:
        found = check_password(password, encoded)
    return found and user is not None


def require_strong(password: str, email: str, field: str) -> None:
    """Raises WeakPassword, whose ``fields`` names ``field``."""
    try:
        validate_password(password, User(email=email))
    except ValidationError as error:
        raise WeakPassword("this password is too weak", fields={field: list(error.messages)}) from error


@cache
def _hash_of_nobody() -> str:
    return make_password("nobody's password")
