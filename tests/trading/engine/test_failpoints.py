"""An engine is killed, or frozen past its lease and woken up, at every point that the code names while it places an
order; the next one finds out what happened. Each point proves by its marker file that it was hit."""

import ast
import asyncio
import secrets
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple

import pytest

from tests.connections.simulator.server import RunningSimulator, running_simulator
from tests.trading.engine.dying_engine import serve
from tests.trading.engine.forked import Databases, Forked, Place
from trading.engine import failpoints

pytestmark = [pytest.mark.system, pytest.mark.timeout(600), pytest.mark.usefixtures("redis_server")]

_LANES = ("first", "second", "third")


class Strike(NamedTuple):
    """What befalls the engine, and where."""

    action: str
    point: str
    without: str = ""  # the guard that is taken out
    rests: bool = False  # the order does, and its owner cancels it


# What the next engine may find: an order that was never decided is placed; one that wasn't sent ends expired, and is
# not sent by somebody else; one that was sent is filled.
ENDS = {
    "before_commit": ("filled", 1),
    "after_commit": ("expired", 0),
    "before_send": ("expired", 0),
    "after_send": ("filled", 1),
    "before_booking": ("filled", 1),
    "after_booking": ("filled", 1),
    "before_cancel": ("cancelled", 1),
    "after_cancel": ("cancelled", 1),
}
# What leaves the process or becomes durable, and the points around it.
GUARDED = {
    "place_order": ("before_send", "after_send"),
    "cancel_order": ("before_cancel", "after_cancel"),
    "atomic": ("before_commit", "after_commit"),
    "_commit_booking": ("before_booking", "after_booking"),
}

_NOT_FROZEN = pytest.mark.database("postgresql", reason="SQLite has one writer: who freezes in it freezes all")


# What it was about to book when it froze is no longer so when it wakes up: who books it all the same makes the order
# leap back, until the exchange is asked again.
_OUTDATED = Strike("stop", "before_booking", rests=True)


def _strikes(action: str, *marks: pytest.MarkDecorator) -> list[Any]:
    strikes = (Strike(action, point, rests=point.endswith("cancel")) for point in sorted(failpoints.POINTS))
    return [pytest.param(each, id=f"{action} {each.point}", marks=marks) for each in strikes]


STRIKES = [
    *_strikes("kill"),
    *_strikes("stop", _NOT_FROZEN),
    pytest.param(_OUTDATED, id="stop before_booking, outdated", marks=_NOT_FROZEN),
]
# Guards of the order path without which such a strike does harm.
WITHOUT = [
    pytest.param(Strike("kill", "after_send", "asking before sending again"), id="asking"),
    pytest.param(Strike("stop", "before_send", "deadline of a send"), id="deadline", marks=_NOT_FROZEN),
    pytest.param(_OUTDATED._replace(without="fence"), id="fence", marks=_NOT_FROZEN),
]


def functions() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Every function of the engine: where it is, and its calls in their order, (name, first argument if a text)."""
    for path in sorted(Path(failpoints.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                calls = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
                calls.sort(key=lambda call: (call.lineno, call.col_offset))
                yield f"{path.name}:{node.name}", [(_called(call), _text(call)) for call in calls]


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _text(call: ast.Call) -> str:
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def test_every_point_in_the_code_is_tested() -> None:
    reached = {text for _, calls in functions() for name, text in calls if name == "reach"}
    assert reached == ENDS.keys() == failpoints.POINTS


def test_every_commit_and_every_send_has_a_point_before_and_after_it() -> None:
    guarded = dict.fromkeys(GUARDED, 0)
    for where, calls in functions():
        for index, (name, _) in enumerate(calls):
            # A booking that follows a decision of ours, without a report, is a commit like every other.
            if name not in GUARDED or (name == "_commit_booking" and not where.endswith(":book_report")):
                continue
            before, after = GUARDED[name]
            points = [(at, text) for at, (called, text) in enumerate(calls) if called == "reach"]
            inside = name == "atomic"  # its point stands between what must hold and the rows
            assert any(text == before and (inside or at < index) for at, text in points), where
            assert any(text == after and at > index for at, text in points), where
            guarded[name] += 1
    assert all(guarded.values()), guarded


@dataclass(frozen=True, slots=True)
class Struck:
    """What became of it: the point by the marker, the exit code of who was hit, what who came after it found."""

    fired: str
    code: int
    found: dict[str, Any]


class Lane:
    """One installation in which strike follows strike: who came after the one that was hit is hit next."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._engines: list[Forked] = []

    def end(self) -> None:
        while self._engines:
            self._engines.pop().close()

    def strike(self, account: Mapping[str, Any], strike: Strike) -> Struck:
        try:
            return self._strike(account, strike)
        except BaseException:
            self.end()
            raise

    def _strike(self, account: Mapping[str, Any], strike: Strike) -> Struck:
        self._place.marker.unlink(missing_ok=True)
        if strike.without:
            self.end()  # who lacks a guard has neither come after others nor will be followed by them
        if not self._engines:
            self._start(strike.without)
        (victim,) = self._engines
        victim.tell({**account, **strike._asdict()})
        is_frozen = strike.action == "stop" and victim.is_frozen()
        code = 0 if is_frozen else victim.ended()
        heir = self._start(strike.without)
        is_outdated = strike == _OUTDATED._replace(without=strike.without)
        heir.tell({**account, "cancels": is_outdated, "patience": 60.0})
        found = heir.hear()
        if is_frozen:
            victim.wake()
            victim.tell("end")
            code = victim.ended()
            heir.tell({**account, "patience": 20.0})  # it was settled before
            found = heir.hear()
        self._engines.remove(victim)
        victim.close()
        if strike.without:
            self.end()
        return Struck(self._place.marker.read_text().split()[0], code, found)

    def _start(self, without: str) -> Forked:
        self._engines.append(Forked(self._place, serve, without))
        return self._engines[-1]


class Bench:
    """A simulator and some lanes beside each other: most of a strike is waiting for leases to end."""

    def __init__(self, simulator: RunningSimulator, loop: asyncio.AbstractEventLoop, places: Iterable[Place]) -> None:
        self._simulator = simulator
        self._loop = loop
        self._lanes = [Lane(place) for place in places]
        self._free: SimpleQueue[Lane] = SimpleQueue()
        for lane in self._lanes:
            self._free.put(lane)
        self._threads = ThreadPoolExecutor(len(self._lanes))
        self._begun: dict[Strike, Future[Struck]] = {}

    def begin(self, strike: Strike) -> None:
        self._begun[strike] = self._threads.submit(self._strike, strike)

    def wait(self) -> None:
        """Returns when all that were begun are over."""
        wait(self._begun.values())

    def end(self) -> None:
        self._threads.shutdown()
        for lane in self._lanes:
            lane.end()

    def struck(self, strike: Strike) -> Struck:
        if strike not in self._begun:  # it was asked for before: the test is repeated
            self.begin(strike)
        return self._begun.pop(strike).result()

    def _strike(self, strike: Strike) -> Struck:
        account = asyncio.run_coroutine_threadsafe(self._account(), self._loop).result()
        lane = self._free.get()
        try:
            return lane.strike(account, strike)
        finally:
            self._free.put(lane)

    async def _account(self) -> dict[str, Any]:
        """What a strike's engines are told."""
        simulator = self._simulator
        keys = await simulator.create_account(f"alice-{secrets.token_hex(4)}", USDT="100000")
        best = (await simulator.public("/api/v3/ticker/bookTicker", symbol="BTCUSDT")).body
        return {
            "key": keys.api_key, "secret": keys.api_secret, "prices": (best["bidPrice"], best["askPrice"]),
            "control": (simulator.control_url, simulator.control_token),
        }  # fmt: skip


@contextmanager
def simulator_beside() -> Iterator[tuple[RunningSimulator, asyncio.AbstractEventLoop]]:
    """On a loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    block = running_simulator()
    yield asyncio.run_coroutine_threadsafe(block.__aenter__(), loop).result(), loop
    asyncio.run_coroutine_threadsafe(block.__aexit__(None, None, None), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def bench(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bench]:
    """Strikes for all tests that were chosen, before the first: each of them empties Redis."""
    folder = tmp_path_factory.mktemp("struck")
    with simulator_beside() as (simulator, loop):
        places = [Place(databases.empty(name), folder / name, simulator.rest_url) for name in _LANES]
        bench = Bench(simulator, loop, places)
        for item in request.session.items:
            if isinstance(item, pytest.Function) and item.path == request.path and hasattr(item, "callspec"):
                if item.get_closest_marker("skip"):
                    continue
                chosen: Strike = item.callspec.params["strike"]  # type: ignore[assignment]
                bench.begin(chosen)
        bench.wait()
        yield bench
        bench.end()


def faults(struck: Struck, strike: Strike) -> list[str]:
    """What isn't as it should be after the strike."""
    found, (status, orders) = struck.found, ("cancelled", 1) if strike.rests else ENDS[strike.point]
    wanted = {
        "fired": (struck.fired, strike.point),
        "exit code": (struck.code, -signal.SIGKILL if strike.action == "kill" else 0),
        "status": (found["status"], status), "orders": (found["orders"], orders), "settled": (found["settled"], True),
        "received": (max(found["received"].values(), default=0), orders), "differences": (found["differences"], []),
        "leaps": (found["leaps"], []),
    }  # fmt: skip
    return [f"{name}: {is_so}, not {should_be}" for name, (is_so, should_be) in wanted.items() if is_so != should_be]


@pytest.mark.parametrize("strike", STRIKES)
def test_nothing_is_lost_or_doubled_wherever_an_engine_dies_or_freezes(strike: Strike, bench: Bench) -> None:
    struck = bench.struck(strike)
    assert faults(struck, strike) == [], struck.found


@pytest.mark.parametrize("strike", WITHOUT)
def test_a_guard_that_is_taken_out_is_missed(strike: Strike, bench: Bench) -> None:
    struck = bench.struck(strike)
    assert struck.fired == strike.point
    assert faults(struck, strike)
