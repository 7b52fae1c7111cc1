"""What can happen to the desk's live line: nonsense both ways, a sleeping machine, wrong clocks, a slow reader."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.desk import Watched, expect_live, log_in
from tests.browser.line import Line, Message, as_it_is
from tests.system.trading import Person, Trading

TEN_MINUTES = 600_000
# Longer than the page waits, for an answer or before it tries again.
LONGEST_PAUSE = 24_000

NOT_OURS: list[str | bytes] = ["not JSON", "[]", '{"type": "watch", "symbol": 5}', '{"type": "snap', b"\x00\xff"]


def _said(type: str, **more: Any) -> str:
    return json.dumps({"type": type, "sequence": 1_000_000, "server_ms": 1, **more})


NOT_THE_SERVERS: list[str | bytes] = [
    "", "null", "17", "[]", '"live"', '{"type": "event"}', b"\x00\xff",
    json.dumps({"type": "prices", "sequence": "1", "server_ms": {}, "data": []}),
    _said("snapshot"),
    _said("snapshot", data=None),
    _said("snapshot", data={"orders": {}}),
    _said("snapshot", data={"positions": [None]}),
    _said("snapshot", data={"connections": [{"id": "1", "name": {"toString": None}}]}),
    _said("prices", data={"feed": 1}),
    _said("prices", data=[{"feed": "binance_spot:simulator", "symbol": "BTC/USDT", "last": "NaN"}]),
    _said("event", kind="order", data=None),
    _said("event", kind="order", data={"id": 5, "status": "filled"}),
    _said("event", kind="trade", data=[]),
    _said("event", kind="candle", data={"connection": "1", "symbol": "BTC/USDT", "timeframe": "1m", "candle": [1, {}]}),
    _said("event", kind="headroom", data={}),
]  # fmt: skip


@pytest.fixture
def page(context: BrowserContext, watched: Watched) -> Page:
    """A page whose complaints fail the test; its clock can be moved, and goes by itself until then."""
    page = context.new_page()
    page.clock.install()
    return page


@pytest.fixture
def rest_an_order(trading: Trading, carol: Person) -> Callable[[], None]:
    """Places an order of carol's that waits, by the API."""
    trading.bind(carol, "Carol's account")
    token = trading.token(carol)
    order = {
        "connection": trading.connections(token)[0], "symbol": "BTC/USDT", "side": "buy", "type": "limit",
        "quantity": "0.001", "price": "20000",
    }  # fmt: skip

    def place() -> None:
        trading.api("orders", order, token)

    return place


def expect_open_orders(page: Page, count: int) -> None:
    expect(page.get_by_role("button", name=f"Open orders: {count}", exact=True)).to_be_visible()


def expect_moving(page: Page) -> None:
    """The price of the market that is shown changes."""
    price = page.locator("#quote-last")
    expect(price).to_have_text(re.compile(r"[0-9]"))
    expect(price).not_to_have_text(price.text_content() or "")


def test_a_page_that_says_nonsense_is_cut_off_and_comes_back(page: Page, trading: Trading) -> None:
    line = Line(page)
    log_in(page, trading.busy)
    for nonsense in NOT_OURS:
        with line.next_snapshot():
            line.say_to_server(nonsense)
            line.wait_for_close()
            page.clock.fast_forward(LONGEST_PAUSE)
    expect_moving(page)
    expect_live(page)


def test_nonsense_from_the_server_is_not_shown_and_the_page_lives_on(page: Page, trading: Trading) -> None:
    line = Line(page)
    log_in(page, trading.busy)
    for nonsense in NOT_THE_SERVERS:
        with line.next_snapshot():
            line.say_to_page(nonsense)
            line.wait_for_close()
            page.clock.fast_forward(LONGEST_PAUSE)
    expect_moving(page)
    expect_live(page)
    expect(page.locator("body")).not_to_contain_text("NaN")


def test_a_server_whose_snapshots_make_no_sense_is_not_called_live(page: Page, trading: Trading) -> None:
    def without_orders(message: Message) -> Message:
        return message | {"data": {"orders": None}} if message["type"] == "snapshot" else message

    line = Line(page)
    log_in(page, trading.busy)
    line.alter = without_orders
    page.get_by_role("button", name="Open orders").first.click()
    line.say_to_page("garbage")
    expect(page.get_by_text(re.compile("^Stale"))).to_be_visible()
    line.alter = as_it_is
    page.get_by_role("button", name="Reconnect now").click()
    expect_live(page)


def test_a_machine_that_slept_says_so_and_catches_up(
    page: Page, trading: Trading, carol: Person, rest_an_order: Callable[[], None]
) -> None:
    line = Line(page)
    log_in(page, carol)
    expect_open_orders(page, 0)
    line.dead = True
    rest_an_order()
    page.clock.fast_forward(TEN_MINUTES)
    expect(page.get_by_text("Offline · 10 min")).to_be_visible()
    expect(page.get_by_text("Data is from 10 min ago.")).to_be_visible()
    expect_open_orders(page, 0)
    line.dead = False
    # The old line never answers, as after a sleep; nobody has to press anything.
    page.clock.fast_forward(LONGEST_PAUSE)
    expect_live(page)
    expect_open_orders(page, 1)
    expect(page.get_by_text("Data is from 10 min ago.")).to_be_hidden()


def test_a_sleep_that_only_the_wall_clock_saw_is_seen_too(page: Page, trading: Trading, carol: Person) -> None:
    """The steady clock of a suspended machine stands still."""
    line = Line(page)
    log_in(page, carol)
    line.dead = True
    page.clock.set_system_time(datetime.now(UTC) + timedelta(minutes=10))
    expect(page.get_by_text(re.compile("^Offline"))).to_be_visible()
    line.dead = False
    page.clock.fast_forward(LONGEST_PAUSE)
    expect_live(page)


@pytest.mark.parametrize(("hours", "words"), [(2, "2 h ahead"), (-2, "1 h behind")])
def test_a_clock_that_is_put_wrong_is_named_and_stops_nothing(
    page: Page, trading: Trading, hours: int, words: str
) -> None:
    log_in(page, trading.busy)
    page.clock.set_system_time(datetime.now(UTC) + timedelta(hours=hours, seconds=60))
    expect(page.get_by_text(f"This clock is {words}")).to_be_visible()
    expect_moving(page)
    expect_live(page)
    # Ages are by the server's clock.
    expect(page.locator("#quote-age")).to_have_text("now")


def test_a_page_that_cannot_keep_up_holds_up_nobody_and_catches_up(
    context: BrowserContext, watched: Watched, trading: Trading, carol: Person, rest_an_order: Callable[[], None]
) -> None:
    slow, other = context.new_page(), context.new_page()
    log_in(slow, carol)
    other.goto("/")
    expect_live(other)
    debugger = context.new_cdp_session(slow)
    debugger.send("Debugger.enable")
    debugger.send("Debugger.pause")
    rest_an_order()
    trading.installation.wait_for_trades(3)
    expect_open_orders(other, 1)
    debugger.send("Debugger.resume")
    debugger.send("Debugger.disable")
    expect_live(slow)
    expect_open_orders(slow, 1)
