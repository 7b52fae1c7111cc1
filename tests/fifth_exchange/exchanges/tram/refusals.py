"""Tram's ``{"problem", "detail"}`` as DES's errors."""

import msgspec

from connections.exchanges.network import Answer
from connections.gateways import (
    Banned,
    GatewayError,
    KeyRefused,
    OrderRejected,
    OutcomeUnknown,
    Throttled,
    UnexpectedShape,
    UnknownOrder,
    Unreachable,
)

from .codec import Problem

_PAUSE = 1.0
_BAN = 60.0


def refusal(answer: Answer, *, is_write: bool) -> GatewayError:
    """The error of an answer that is no success. In doubt a write's outcome is unknown."""
    told = answer.headers.get("Retry-After", "")
    if answer.status == 418:
        return Banned("the exchange has banned this address", retry_after=float(told) if told else _BAN)
    if answer.status == 429:
        return Throttled("the exchange's limit is reached", retry_after=float(told) if told else _PAUSE)
    if answer.status >= 500:
        message = f"the exchange answered {answer.status}"
        return OutcomeUnknown(message) if is_write else Unreachable(message)
    problem = _problem(answer.body)
    if problem is None:
        message = f"the exchange answered {answer.status} in an unknown shape"
        return OutcomeUnknown(message) if is_write else UnexpectedShape(message)
    if answer.status in (401, 403):
        return KeyRefused(f"the exchange refused the key ({problem.problem})")
    if problem.problem == "UNKNOWN_ORDER":
        return UnknownOrder("the exchange doesn't know this order, or it isn't open any more")
    if problem.problem == "TWIN":
        return OutcomeUnknown("the exchange has an order of this client id already")
    return OrderRejected(problem.detail or problem.problem, exchange_code=problem.problem)


def _problem(body: bytes) -> Problem | None:
    try:
        found = msgspec.json.decode(body, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found if found.problem else None
