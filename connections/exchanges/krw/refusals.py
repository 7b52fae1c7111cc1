"""Refusals of the won exchanges as DES's errors: ``{"error": {"name", "message"}}`` beside an HTTP status."""

import re
from collections.abc import Mapping

import msgspec

from connections.exchanges.call import Purpose, unsure
from connections.exchanges.network import Answer
from connections.gateways import (
    Banned,
    GatewayError,
    KeyRefused,
    OrderRejected,
    OutcomeUnknown,
    Throttled,
    UnknownOrder,
    Unreachable,
    UnreadableRefusal,
)

# Their limits are counted by the second.
SHORT_PAUSE = 1.0
# When a ban doesn't say how long.
BAN_PAUSE = 60.0
_SECONDS = re.compile(r"(\d+)\s*(?:seconds?|초)")
_UNKNOWN_ORDER = {"order_not_found"}
# The request was fine and nothing was done: it may be sent again, with a new identifier.
_LATER = {"order_not_ready", "server_error_try_again", "too_many_requests"}
_KEY = {
    "invalid_query_payload", "jwt_verification", "expired_access_key", "expired_jwt", "invalid_access_key",
    "nonce_used", "no_authorization_i_p", "no_authorization_ip", "no_authorization_token", "NotAllowIP",
    "blocked_member_id", "INVALID_AUTH",
}  # fmt: skip


class OutOfScope(KeyRefused):
    """The key works, but not for this."""


class Problem(msgspec.Struct):
    # Bithumb's are sometimes numbers.
    name: str | int = ""
    message: str = ""


class ErrorAnswer(msgspec.Struct):
    error: Problem


def refusal(answer: Answer, purpose: Purpose) -> GatewayError:
    """The error of an answer that is no success."""
    problem = _problem(answer.body)
    message = problem.message if problem else ""
    if answer.status == 418:
        pause = _retry_after(answer.headers, message, BAN_PAUSE)
        return Banned("the exchange has banned this address", retry_after=pause)
    if answer.status == 429:
        pause = _retry_after(answer.headers, message, SHORT_PAUSE)
        return Throttled("the exchange's request limit is reached", retry_after=pause)
    if answer.status >= 500:
        return unsure(f"the exchange answered {answer.status}", purpose)
    if problem is not None and problem.name != "":
        return named(str(problem.name), problem.message, purpose, answer.status)
    if answer.status in (401, 403):
        return KeyRefused(f"the exchange refused the key ({answer.status})")
    if purpose is Purpose.READ:
        return UnreadableRefusal(f"the exchange answered {answer.status} in an unknown shape")
    return OutcomeUnknown(f"the exchange answered {answer.status} in an unknown shape")


def named(name: str, message: str, purpose: Purpose, status: int = 400) -> GatewayError:
    """The error of the exchange's ``name``, whichever way it came."""
    if name in _LATER:
        return Unreachable(f"the exchange wants to be asked later ({name})")
    if name == "out_of_scope":
        return OutOfScope("the key has no permission for this")
    if name in _KEY or status in (401, 403):
        return KeyRefused(f"the exchange refused the key ({name}): {message}")
    if purpose is Purpose.PLACE and _is_about_identifier(name, message):
        return OutcomeUnknown("the exchange has seen this client id before")
    if name in _UNKNOWN_ORDER or status == 404 or purpose is Purpose.CANCEL:
        # Whatever else a cancel is refused for, the order's own state says what is true now.
        return UnknownOrder("the exchange doesn't know this order, or it isn't open any more")
    return OrderRejected(message or f"the exchange refused with {name}", exchange_code=name)


def _is_about_identifier(name: str, message: str) -> bool:
    """An id counts as used for ever. Which name the exchange has for that is in no document: in doubt it's this."""
    told = f"{name} {message}".lower()
    return "identifier" in told or "client_order_id" in told or "duplicate" in told


def _problem(body: bytes) -> Problem | None:
    try:
        return msgspec.json.decode(body, type=ErrorAnswer).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _retry_after(headers: Mapping[str, str], message: str, otherwise: float) -> float:
    """Seconds to wait: the header's, else those named in the message."""
    told = headers.get("Retry-After", "")
    if told.isdigit():
        return float(told)
    found = _SECONDS.search(message)
    return float(found[1]) if found else otherwise
