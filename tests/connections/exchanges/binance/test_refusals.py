"""Each of Binance's refusals, as what the caller does about it."""

from collections.abc import Mapping

import msgspec
import pytest

from connections.exchanges.binance.refusals import ClockOff, OrdersThrottled, refusal
from connections.exchanges.call import Purpose
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

NOW_MS = 1_700_000_000_000
FILTER = "Filter failure: NOTIONAL"


def refused(
    status: int, code: int | None, message: str = "", headers: Mapping[str, str] | None = None
) -> Answer:
    body = b"<html></html>" if code is None else msgspec.json.encode({"code": code, "msg": message})
    return Answer(status, headers or {}, body)


@pytest.mark.parametrize(
    ("status", "code", "message", "to_place", "to_cancel", "to_read"),
    [
        (429, -1003, "", Throttled, Throttled, Throttled),
        (400, -1003, "", Throttled, Throttled, Throttled),
        (429, None, "", Throttled, Throttled, Throttled),
        (403, None, "", Throttled, Throttled, Throttled),
        (418, -1003, "", Banned, Banned, Banned),
        (418, None, "", Banned, Banned, Banned),
        (429, -1015, "", OrdersThrottled, OrdersThrottled, OrdersThrottled),
        (400, -1006, "", OutcomeUnknown, OutcomeUnknown, Unreachable),
        (408, -1007, "", OutcomeUnknown, OutcomeUnknown, Unreachable),
        (500, -1000, "", OutcomeUnknown, OutcomeUnknown, Unreachable),
        (500, None, "", OutcomeUnknown, OutcomeUnknown, Unreachable),
        (503, -9999, "", OutcomeUnknown, OutcomeUnknown, Unreachable),
        (503, -1008, "", Unreachable, Unreachable, Unreachable),
        (400, -1021, "", ClockOff, ClockOff, ClockOff),
        (400, -1022, "", KeyRefused, KeyRefused, KeyRefused),
        (401, -2014, "", KeyRefused, KeyRefused, KeyRefused),
        (401, -2015, "", KeyRefused, KeyRefused, KeyRefused),
        (400, -1013, FILTER, FilterRefused, FilterRefused, FilterRefused),
        (400, -4014, "Price not increased by tick size.", *[FilterRefused] * 3),
        (400, -2010, "Account has insufficient balance for requested action.", *[OrderRejected] * 3),
        (400, -2010, "Duplicate order sent.", OutcomeUnknown, OrderRejected, OrderRejected),
        (400, -4116, "ClientOrderId is duplicated.", OutcomeUnknown, OrderRejected, OrderRejected),
        (400, -2011, "Unknown order sent.", UnknownOrder, UnknownOrder, UnknownOrder),
        (400, -2011, "Order was not canceled due to cancel restrictions.", *[OrderRejected] * 3),
        (400, -2013, "Order does not exist.", UnknownOrder, UnknownOrder, UnknownOrder),
        (400, -2026, "Order was archived.", OrderRejected, OrderRejected, OrderRejected),
        (404, None, "", OutcomeUnknown, OutcomeUnknown, UnreadableRefusal),
    ],
)
def test_every_refusal_says_what_to_do(
    status: int,
    code: int | None,
    message: str,
    to_place: type[GatewayError],
    to_cancel: type[GatewayError],
    to_read: type[GatewayError],
) -> None:
    answer = refused(status, code, message)

    found = [type(refusal(answer, purpose, NOW_MS)) for purpose in (Purpose.PLACE, Purpose.CANCEL, Purpose.READ)]
    assert found == [to_place, to_cancel, to_read]


def test_a_rejection_carries_the_exchanges_code_and_words() -> None:
    error = refusal(refused(400, -1013, FILTER), Purpose.PLACE, NOW_MS)

    assert isinstance(error, OrderRejected)
    assert (error.exchange_code, error.message) == ("-1013", FILTER)


@pytest.mark.parametrize(
    ("status", "message", "headers", "seconds"),
    [
        (429, "", {"Retry-After": "17"}, 17),
        (418, f"Way too much request weight used; IP banned until {NOW_MS + 90_000}. Please", {}, 90),
        (418, f"IP banned until {NOW_MS - 5}", {}, 1),
        (429, "", {"Retry-After": "soon"}, 60),
        (429, "", {}, 60),
    ],
)
def test_the_pause_is_the_one_that_the_exchange_asks_for(
    status: int, message: str, headers: dict[str, str], seconds: float
) -> None:
    assert refusal(refused(status, -1003, message, headers), Purpose.READ, NOW_MS).retry_after == seconds


def test_an_unsure_write_never_looks_like_one_that_did_nothing() -> None:
    """The one mistake that would send an order twice."""
    for status in range(500, 512):
        for code in (None, 0, -1000, -1001, -1006, -1007, -4000):
            assert not isinstance(refusal(refused(status, code), Purpose.PLACE, NOW_MS), NothingHappened)
