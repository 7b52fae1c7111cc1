"""Binance's refusals as DES's errors, split by what the caller does about them."""

import re
from collections.abc import Mapping

import msgspec

from connections.exchanges.binance.codec import ErrorAnswer
from connections.exchanges.call import Purpose, unsure
from connections.exchanges.network import Answer
from connections.gateways import (
    Banned,
    FilterRefused,
    GatewayError,
    KeyRefused,
    NothingHappened,
    OrderRejected,
    OutcomeUnknown,
    Throttled,
    UnknownOrder,
    Unreachable,
    UnreadableRefusal,
)

_BANNED_UNTIL = re.compile(r"banned until (\d{13})")
# When a refusal over limits doesn't say how long.
DEFAULT_PAUSE = 60.0
_UNSURE = {-1000, -1001, -1006, -1007}
_BUSY = {-1008, -1016}
_KEY = {-1002, -1022, -2014, -2015}
DUPLICATE_ORDER = "Duplicate order sent."
# USD-M's code of a client id that is in use.
_DUPLICATE_ID = -4116
_UNKNOWN_ORDER = "Unknown order sent."
# Spot has one code for every filter, USD-M one for each.
_FILTERS = {-1013, -1111, -4002, -4004, -4005, -4013, -4014, -4023, -4164}


class ClockOff(NothingHappened):
    """Our stamp was outside the exchange's window: measure its clock again."""

    code = "EXCHANGE_CLOCK_OFF"


class OrdersThrottled(Throttled):
    """This account, not this address, has placed too many orders."""


def refusal(answer: Answer, purpose: Purpose, now_ms: int) -> GatewayError:
    """The error of an answer that is no success; ``now_ms`` is the exchange's time."""
    body = _body(answer)
    retry_after = _retry_after(answer.headers, body.msg if body else "", now_ms)
    if answer.status == 418:
        return Banned("the exchange has banned this address", retry_after=retry_after)
    if answer.status in (403, 429) or (body and body.code in (-1003, -1015)):
        kind = OrdersThrottled if body and body.code == -1015 else Throttled
        return kind("the exchange's request limit is reached", retry_after=retry_after)
    if body is not None and body.code != 0:
        return coded(body.code, body.msg, purpose, answer.status)
    if answer.status >= 500:
        return unsure(f"the exchange answered {answer.status}", purpose)
    if purpose is Purpose.READ:
        return UnreadableRefusal(f"the exchange answered {answer.status} in an unknown shape")
    return OutcomeUnknown(f"the exchange answered {answer.status} in an unknown shape")


def coded(code: int, message: str, purpose: Purpose, status: int = 400) -> GatewayError:
    """The error of Binance's ``code``, whichever way it came."""
    if code in _BUSY:
        return Unreachable("the exchange is overloaded")
    if code == -1021:
        return ClockOff("our clock and the exchange's differ")
    if code in _UNSURE or status >= 500:
        return unsure(f"the exchange failed with {code}", purpose)
    if code in _KEY:
        return KeyRefused(f"the exchange refused the key ({code}): {message}")
    return _about_the_order(code, message, purpose)


def _about_the_order(code: int, message: str, purpose: Purpose) -> GatewayError:
    if code == -2013 or (code == -2011 and message == _UNKNOWN_ORDER):
        return UnknownOrder("the exchange doesn't know this order")
    is_duplicate = code == _DUPLICATE_ID or (code == -2010 and message == DUPLICATE_ORDER)
    if is_duplicate and purpose is Purpose.PLACE:
        return OutcomeUnknown("the exchange has an open order with this client id")
    kind = FilterRefused if code in _FILTERS else OrderRejected
    return kind(message or f"the exchange refused with {code}", exchange_code=str(code))


def _body(answer: Answer) -> ErrorAnswer | None:
    try:
        return msgspec.json.decode(answer.body, type=ErrorAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _retry_after(headers: Mapping[str, str], message: str, now_ms: int) -> float:
    """Seconds to wait: the header's, else the time named in the message, else a minute."""
    named = headers.get("Retry-After", "")
    if named.isdigit():
        return float(named)
    if (until := _BANNED_UNTIL.search(message)) is not None:
        return max((int(until[1]) - now_ms) / 1000, 1.0)
    return DEFAULT_PAUSE
