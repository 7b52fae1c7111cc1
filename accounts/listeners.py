"""What other apps do about what happens to accounts: they sit above this one and register here when they start."""

from collections.abc import Callable
from functools import partial
from uuid import UUID

from django.db import transaction

from accounts.models import User

SessionsEnded = Callable[[UUID], None]
Deleted = Callable[[User], None]

_sessions_ended: list[SessionsEnded] = []
_deleted: list[Deleted] = []


def on_sessions_ended(job: SessionsEnded) -> None:
    """Adds a job to be done after tokens of a user were revoked: it gets the user's id."""
    if job not in _sessions_ended:
        _sessions_ended.append(job)


def on_deleted(job: Deleted) -> None:
    """Adds a job to be done in the transaction that deletes a user, within the user's tenant scope."""
    if job not in _deleted:
        _deleted.append(job)


def tell_sessions_ended(user_id: UUID) -> None:
    """Tells all, once the present transaction has committed."""
    for job in _sessions_ended:
        transaction.on_commit(partial(job, user_id))


def tell_deleted(user: User) -> None:
    """Tells all, now: what they write is part of the deletion."""
    for job in _deleted:
        job(user)
