"""How urgent a request is. What it is for decides that, unless its task says it once for all that the task does."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from enum import IntEnum


class Urgency(IntEnum):
    """Most urgent first. Each leaves a part of the budget to the more urgent ones."""

    # Cancels and protective exits: nothing of theirs ever waits for anything less.
    EXIT = 0
    ENTRY = 1
    READ = 2
    # Reconciliation, history, health checks: at most BACKGROUND_SHARE of what the exchange allows.
    BACKGROUND = 3


_working_at: ContextVar[Urgency | None] = ContextVar("urgency", default=None)


@contextlib.contextmanager
def working_at(urgency: Urgency) -> Iterator[None]:
    """Everything that the block asks of exchanges is so urgent, whatever it is."""
    token = _working_at.set(urgency)
    try:
        yield
    finally:
        _working_at.reset(token)


def urgency_of(otherwise: Urgency) -> Urgency:
    """How urgent the current task's work is; ``otherwise`` where nobody said."""
    said = _working_at.get()
    return otherwise if said is None else said
