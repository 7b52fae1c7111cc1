"""Market streams over a real websocket: what they show agrees with itself and with REST."""

import asyncio
import itertools
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from tests.connections.simulator.server import STILL, Keys, RunningSimulator, running_simulator

TIMEOUT = 5
Levels = dict[Decimal, Decimal]


class LocalBook:
    """A book kept by the exchange's published procedure."""

    def __init__(self, snapshot: Any) -> None:
        self.update_id: int = snapshot["lastUpdateId"]
        self.bids: Levels = _levels(snapshot["bids"])
        self.asks: Levels = _levels(snapshot["asks"])

    def apply(self, event: Any) -> None:
        if event["u"] <= self.update_id:
            return
        assert event["U"] <= self.update_id + 1, "a delta is missing"
        for side, rows in ((self.bids, event["b"]), (self.asks, event["a"])):
            for price, quantity in _levels(rows).items():
                side[price] = quantity
                if not quantity:
                    del side[price]
        self.update_id = event["u"]

    def top(self) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        bid, ask = max(self.bids), min(self.asks)
        return bid, self.bids[bid], ask, self.asks[ask]


def _levels(rows: list[list[str]]) -> Levels:
    return {Decimal(price): Decimal(quantity) for price, quantity in rows}


def _quote(event: Any) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    return Decimal(event["b"]), Decimal(event["B"]), Decimal(event["a"]), Decimal(event["A"])


async def collect(socket: aiohttp.ClientWebSocketResponse, stream: str, count: int) -> list[Any]:
    """The next `count` events of one stream."""
    events: list[Any] = []
    while len(events) < count:
        message = await socket.receive_json(timeout=TIMEOUT)
        if message["stream"] == stream:
            events.append(message["data"])
    return events


@pytest.mark.parametrize("speed", ["", "@100ms"])
async def test_deltas_rebuild_exactly_the_book_that_rest_shows(speed: str) -> None:
    async with running_simulator(speed=20, symbols=("BTCUSDT",)) as sim:
        stream = f"btcusdt@depth{speed}"
        async with sim.market_socket(stream) as socket:
            buffered = await collect(socket, stream, 1)
            book = LocalBook((await sim.public("/api/v3/depth", symbol="BTCUSDT", limit=5000)).body)
            for event in buffered + await collect(socket, stream, 1):
                book.apply(event)
            sim.server.settings.speed = STILL
            shown = (await sim.public("/api/v3/depth", symbol="BTCUSDT", limit=5000)).body
            while book.update_id != shown["lastUpdateId"]:
                book.apply((await collect(socket, stream, 1))[0])
                shown = (await sim.public("/api/v3/depth", symbol="BTCUSDT", limit=5000)).body
    assert (_levels(shown["bids"]), _levels(shown["asks"])) == (book.bids, book.asks)


async def test_update_ids_are_contiguous() -> None:
    stream = "btcusdt@depth@100ms"
    async with running_simulator(speed=20, symbols=("BTCUSDT",)) as sim, sim.market_socket(stream) as socket:
        events = await collect(socket, stream, 6)
    for event, later in itertools.pairwise(events):
        assert event["U"] <= event["u"]
        assert later["U"] == event["u"] + 1


async def test_the_book_ticker_is_the_top_of_the_depth_book() -> None:
    streams = ("btcusdt@depth@100ms", "btcusdt@bookTicker")
    async with running_simulator(speed=5, symbols=("BTCUSDT",)) as sim, sim.market_socket(*streams) as socket:
        book = LocalBook((await sim.public("/api/v3/depth", symbol="BTCUSDT", limit=5000)).body)
        quotes: dict[int, Any] = {}
        compared = 0
        while compared < 5:
            message = await socket.receive_json(timeout=TIMEOUT)
            if message["stream"].endswith("bookTicker"):
                quotes[message["data"]["u"]] = message["data"]
                continue
            book.apply(message["data"])
            seen = [quote for update_id, quote in quotes.items() if update_id <= book.update_id]
            if seen:
                assert _quote(seen[-1]) == book.top()
                compared += 1


async def test_trades_have_rising_ids_and_make_the_candles(sim: RunningSimulator, alice: Keys) -> None:
    async with sim.market_socket("btcusdt@trade", "btcusdt@aggTrade", "btcusdt@kline_1s") as socket:
        for _ in range(3):
            await sim.order(alice, "BUY", "0.001")
        trades: list[Any] = []
        bars: list[Any] = []
        runs: list[Any] = []
        while not bars or not trades or bars[-1]["L"] < trades[-1]["t"]:
            message = await socket.receive_json(timeout=TIMEOUT)
            kind = {"trade": trades, "aggTrade": runs}.get(message["data"]["e"], bars)
            kind.append(message["data"].get("k", message["data"]))
        public = (await sim.public("/api/v3/trades", symbol="BTCUSDT")).body
    ids = [trade["t"] for trade in trades]
    assert ids == [ids[0], ids[0] + 1, ids[0] + 2]
    assert [(run["f"], run["l"]) for run in runs] == [(number, number) for number in ids]
    assert all(bar["x"] and bar["T"] == bar["t"] + 999 for bar in bars)
    for bar in bars:
        inside = [row for row in public if bar["t"] <= row["time"] <= bar["T"]]
        assert (sum(Decimal(row["qty"]) for row in inside), len(inside)) == (Decimal(bar["v"]), bar["n"])
    assert bars[-1]["L"] == ids[-1]
    assert bars[-1]["c"] == trades[-1]["p"]


async def test_open_candles_are_shown_while_they_grow(sim: RunningSimulator, alice: Keys) -> None:
    async with sim.market_socket("btcusdt@kline_1m") as socket:
        await sim.order(alice, "BUY", "0.001")
        [event] = await collect(socket, "btcusdt@kline_1m", 1)
    assert event["k"]["i"] == "1m"
    assert (event["s"], event["k"]["s"]) == ("BTCUSDT", "BTCUSDT")


async def test_tickers(sim: RunningSimulator) -> None:
    async with sim.market_socket("btcusdt@miniTicker", "btcusdt@ticker", "btcusdt@depth5") as socket:
        [mini] = await collect(socket, "btcusdt@miniTicker", 1)
        [whole] = await collect(socket, "btcusdt@ticker", 1)
        [partial] = await collect(socket, "btcusdt@depth5", 1)
    assert (mini["e"], whole["e"]) == ("24hrMiniTicker", "24hrTicker")
    assert (whole["b"], whole["a"]) == (partial["bids"][0][0], partial["asks"][0][0])
    assert len(partial["bids"]) == 5


async def test_a_raw_connection_gets_bare_events(sim: RunningSimulator, alice: Keys) -> None:
    async with sim.session.ws_connect(f"{sim.stream_url}/ws/btcusdt@trade") as socket:
        await sim.order(alice, "BUY", "0.001")
        event = await socket.receive_json(timeout=TIMEOUT)
    assert (event["e"], event["s"]) == ("trade", "BTCUSDT")


async def test_subscribing_and_unsubscribing_on_the_way(sim: RunningSimulator, alice: Keys) -> None:
    async with sim.session.ws_connect(f"{sim.stream_url}/ws") as socket:
        await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@trade", "btcusdt@bookTicker"], "id": 1})
        assert await socket.receive_json(timeout=TIMEOUT) == {"result": None, "id": 1}
        await socket.send_json({"method": "UNSUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 2})
        assert await socket.receive_json(timeout=TIMEOUT) == {"result": None, "id": 2}
        await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": "three"})
        assert await socket.receive_json(timeout=TIMEOUT) == {"result": ["btcusdt@trade"], "id": "three"}
        await sim.order(alice, "BUY", "0.001")
        assert (await socket.receive_json(timeout=TIMEOUT))["e"] == "trade"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("not json", 3),
        ('{"id": 1}', 2),
        ('{"method": "SHOUT", "params": [], "id": 1}', 2),
        ('{"method": "SUBSCRIBE", "params": [1], "id": 1}', 2),
        ('{"method": "SUBSCRIBE", "params": ["btcusdt@trade"]}', 2),
        ('{"method": "GET_PROPERTY", "params": ["colour"], "id": 1}', 0),
        ('{"method": "SET_PROPERTY", "params": ["combined", 7], "id": 1}', 1),
    ],
)
async def test_messages_that_make_no_sense(sim: RunningSimulator, text: str, code: int) -> None:
    async with sim.session.ws_connect(f"{sim.stream_url}/ws") as socket:
        await socket.send_str(text)
        answer = await socket.receive_json(timeout=TIMEOUT)
    assert answer.get("error", answer)["code"] == code


async def test_more_than_five_messages_a_second_end_the_connection(sim: RunningSimulator) -> None:
    async with sim.session.ws_connect(f"{sim.stream_url}/ws") as socket:
        for number in range(6):
            await socket.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
        kinds = [(await socket.receive(timeout=TIMEOUT)).type for _ in range(6)]
    assert kinds.count(aiohttp.WSMsgType.TEXT) == 5
    assert kinds[-1] is aiohttp.WSMsgType.CLOSE


async def test_the_client_is_pinged_and_cut_when_it_never_answers(
    sim: RunningSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("connections.simulator.sockets._PING_EVERY_S", 0.0)
    monkeypatch.setattr("connections.simulator.sockets._PONG_WITHIN_S", 0.0)
    async with sim.session.ws_connect(f"{sim.stream_url}/ws", autoping=False) as socket:
        ping = await socket.receive(timeout=TIMEOUT)
        assert ping.type is aiohttp.WSMsgType.PING
        assert ping.data
        async with asyncio.timeout(TIMEOUT):
            while not socket.closed:
                await socket.receive()


async def test_a_late_tick_still_closes_every_bar_once(sim: RunningSimulator) -> None:
    streams = sim.server.spot.streams
    async with sim.session.ws_connect(f"{sim.stream_url}/ws/ethusdt@kline_1s") as socket:
        ahead = sim.now_ms() + 60_000
        streams.tick(ahead)
        bars = [(await socket.receive_json(timeout=TIMEOUT))["k"] for _ in range(60)]
        streams.tick(ahead)
        streams.tick(ahead + 1150)
        bars.append((await socket.receive_json(timeout=TIMEOUT))["k"])
    assert all(bar["x"] for bar in bars)
    assert {later["t"] - bar["t"] for bar, later in itertools.pairwise(bars)} == {1000}


async def test_closed_sockets_are_forgotten(sim: RunningSimulator) -> None:
    async with sim.market_socket("btcusdt@trade"):
        assert (await sim.counters())["sockets"]["market"] == 1
    async with asyncio.timeout(TIMEOUT):
        while (await sim.counters())["sockets"]["market"]:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("path", ["/stream?streams=btcusdt@trade", "/ws-api/v3"])
async def test_a_socket_of_the_spot_market_ends_of_age_and_says_so_before(path: str) -> None:
    async with running_simulator(socket_life_s=2.0) as sim, sim.session.ws_connect(sim.stream_url + path) as socket:
        told = await socket.receive_json(timeout=10)
        closed = await socket.receive(timeout=10)

    assert told.get("event", told)["e"] == "serverShutdown"
    assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1008)


async def test_a_socket_of_the_futures_ends_of_age_without_a_word() -> None:
    async with (
        running_simulator(symbols=(), perpetuals=("BTCUSDT",), socket_life_s=1.0) as sim,
        sim.session.ws_connect(f"{sim.stream_url}/public/ws") as socket,
    ):
        closed = await socket.receive(timeout=10)

    assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1008)
