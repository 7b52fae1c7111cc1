"""The circuit breaker of one connection (CON-4): after a few failures in a row nothing is sent to its exchange for a
while, then one call tries whether it works again. Cancels, exits and questions about one order needn't wait for that:
one at a time, with a pause between them, is the call that tries (ADR 16).

A failure is a call that the exchange didn't answer, or answered with nonsense or an error of its own. Refusals (no
balance, an unknown order, a bad key) are answers; being throttled, or too late by our own clock, says nothing.
"""

import functools
from collections.abc import Callable, Coroutine
from typing import Any, cast

import structlog

from connections.budget.urgency import Urgency, urgency_of
from connections.gateways import (
    DeadlinePassed,
    Gateway,
    KeyRefused,
    NothingHappened,
    OrderRejected,
    OutcomeUnknown,
    Throttled,
    UnexpectedShape,
    UnknownOrder,
)
from desproject.lib.clock import Clock
from desproject.lib.metrics.registry import METRICS

log = structlog.get_logger(__name__)

_NEUTRAL = (Throttled, DeadlinePassed)
_FAILURES = (NothingHappened, OutcomeUnknown, UnexpectedShape)
_REFUSALS = (OrderRejected, UnknownOrder, KeyRefused)
# Public data, mostly from a cache: it tells nothing about the account.
_UNGUARDED = frozenset({"rules", "candles"})
# They lower what is at risk, or tell it: what became of an order must be known within a minute.
_URGENT = frozenset({"cancel_order", "order"})
# Urgent calls try so often whether an exchange that failed works again.
_URGENT_PAUSE = 5.0


class CircuitOpen(NothingHappened):
    """The connection's breaker is open: the call was not made."""

    code = "CIRCUIT_OPEN"


class Breaker:
    """Counts one connection's failures. Closed: calls pass. Open: none does. Half open: one does, as the probe."""

    def __init__(self, name: str, clock: Clock, *, failures: int, seconds: float) -> None:
        self._name = name
        self._clock = clock
        self._limit = failures
        self._seconds = seconds
        self._failures = 0
        self._open_until: float | None = None
        self._probing = False
        self._urgent_from = 0.0

    def enter(self, *, is_urgent: bool = False) -> bool:
        """Before a call; whether it is the probe. Raises CircuitOpen."""
        if self._open_until is None:
            return False
        now = self._clock.monotonic()
        left = (self._urgent_from if is_urgent else self._open_until) - now
        if left > 0 or self._probing:
            raise CircuitOpen(
                "the exchange failed repeatedly: nothing is sent to it for a while", retry_after=max(left, 1.0)
            )
        self._probing = True
        self._urgent_from = now + _URGENT_PAUSE
        return True

    def succeeded(self) -> None:
        """The exchange answered."""
        if self._open_until is not None:
            log.info("breaker_closed", connection_id=self._name)
        self._failures, self._open_until = 0, None

    def failed(self, *, was_probe: bool) -> None:
        """It didn't. Calls that were under way when the breaker opened don't make it stay open for longer."""
        self._failures += 1
        if was_probe or (self._open_until is None and self._failures >= self._limit):
            METRICS.count("gateway.breaker_opened")
            log.warning("breaker_opened", connection_id=self._name, failures=self._failures, seconds=self._seconds)
            now = self._clock.monotonic()
            self._open_until, self._urgent_from = now + self._seconds, now + min(_URGENT_PAUSE, self._seconds)

    def leave(self, *, was_probe: bool) -> None:
        """After every call: a probe that ended without a word lets the next call be one."""
        if was_probe:
            self._probing = False


Note = Callable[[str, Exception | None], None]


def _unnoted(call: str, error: Exception | None) -> None:
    """Nobody wants to know."""


def guarded(gateway: Gateway, breaker: Breaker, note: Note = _unnoted) -> Gateway:
    """The gateway, each of its calls through the breaker; ``note`` is told how each ended."""
    return cast(Gateway, _Guarded(gateway, breaker, note))


class _Guarded:
    """Stands in for a gateway, whatever calls its venue has."""

    def __init__(self, gateway: Gateway, breaker: Breaker, note: Note) -> None:
        self._gateway = gateway
        self._note = note
        self._breaker = breaker

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._gateway, name)
        if name in _UNGUARDED or not callable(attribute):
            return attribute
        call = functools.wraps(attribute)(functools.partial(self._call, attribute, name))
        setattr(self, name, call)
        return call

    async def aclose(self) -> None:
        await self._gateway.aclose()

    async def _call(
        self, call: Callable[..., Coroutine[Any, Any, Any]], name: str, *args: Any, **kwargs: Any
    ) -> Any:
        is_urgent = name in _URGENT or urgency_of(Urgency.READ) is Urgency.EXIT
        was_probe = self._breaker.enter(is_urgent=is_urgent)
        try:
            answer = await call(*args, **kwargs)
        except _NEUTRAL:
            raise
        except _REFUSALS:
            self._breaker.succeeded()
            raise
        except _FAILURES as error:
            self._breaker.failed(was_probe=was_probe)
            self._note(name, error)
            raise
        else:
            self._breaker.succeeded()
            self._note(name, None)
            return answer
        finally:
            self._breaker.leave(was_probe=was_probe)
