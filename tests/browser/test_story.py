"""The whole story of a trader, from the first visit to the kill switch, in a real browser."""

import re
from statistics import median

from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.desk import (
    Watched,
    bind_account,
    create_strategy,
    expect_live,
    panel,
    place_order,
    register,
    tab,
    table,
)
from tests.conftest import PASSWORD
from tests.system.trading import Trading

# By the machine's one clock: from the fill, as the exchange times it, to the filled order on the page. Of several fills
# the middle one: a machine that stood still once is no fault of the page.
FILL_TO_SCREEN_SECONDS = 1.0
_FILLS = 5
# Notes when each filled order of a panel first stood there, oldest first.
_WATCH_FILLS = """(panel) => {
    const seen = new Map();
    const filled = (row) => [...row.querySelectorAll('.tag')].some((tag) => tag.textContent === 'filled');
    const look = () => {
        for (const row of panel.querySelectorAll('tbody tr'))
            if (!seen.has(row) && filled(row)) seen.set(row, Date.now());
    };
    new MutationObserver(look).observe(panel, {childList: true, characterData: true, subtree: true});
    window.firstSeen = () => [...seen.values()];
}"""


def test_a_trader_from_the_first_visit_to_the_kill_switch(
    context: BrowserContext, trading: Trading, watched: Watched, email: str
) -> None:
    page = context.new_page()
    register(page, email, PASSWORD)
    account = trading.open_account()
    bind_account(page, "My account", account)
    _see_the_price_move(page)
    create_strategy(page, "My RSI")
    _see_fills_at_once(page, trading, email)
    _cancel_a_resting_order(page)
    place_order(page, side="buy", kind="limit", quantity="0.001", price=_far_below(page))
    _press_the_kill_switch(page)
    _expect_stopped(page)
    # What rested is cancelled, and nothing new is taken.
    expect(page.get_by_role("button", name="Open orders: 0", exact=True)).to_be_visible()
    _see_an_order_refused(page)
    received = trading.orders_received(account)
    page.reload()
    expect_live(page)
    _expect_stopped(page)
    expect(table(page, "Connections").get_by_text("My account")).to_be_visible()
    expect(table(page, "Strategies").get_by_text("My RSI")).to_be_visible()
    tab(page, "Closed orders")
    closed = table(page, "Closed orders")
    expect(closed.get_by_text("cancelled").nth(1)).to_be_visible()
    expect(closed.get_by_text("filled", exact=True).nth(_FILLS - 1)).to_be_visible()
    # The other users' strategies fired many times since.
    trading.installation.wait_for_trades(6)
    assert trading.orders_received(account) == received


def _see_the_price_move(page: Page) -> None:
    price = page.locator("#quote-last")
    expect(price).to_have_text(re.compile(r"[0-9]"))
    first = price.text_content() or ""
    expect(price).not_to_have_text(first)


def _see_fills_at_once(page: Page, trading: Trading, email: str) -> None:
    """Starts the strategy; each order that fills is on the page within a second of its fill."""
    tab(page, "Closed orders")
    closed = page.get_by_role("tabpanel", name="Closed orders")
    closed.evaluate(_WATCH_FILLS)
    page.get_by_role("button", name="Start: My RSI").click()
    expect(table(page, "Strategies").get_by_text("running")).to_be_visible()
    expect(closed.get_by_text("filled", exact=True).nth(_FILLS - 1)).to_be_visible(timeout=60_000)
    seen = page.evaluate("window.firstSeen()")
    filled = trading.fill_times(email)
    late = [at / 1000 - fill.timestamp() for at, fill in zip(seen, filled, strict=False)]
    assert len(late) >= _FILLS
    assert median(late) < FILL_TO_SCREEN_SECONDS, f"seconds from fill to screen: {late}"


def _cancel_a_resting_order(page: Page) -> None:
    place_order(page, side="buy", kind="limit", quantity="0.001", price=_far_below(page))
    tab(page, "Open orders")
    cancel = page.get_by_role("button", name="Cancel: buy 0.001 BTC/USDT")
    cancel.click()
    expect(cancel).to_have_count(0)
    tab(page, "Closed orders")
    expect(table(page, "Closed orders").get_by_text("cancelled")).to_be_visible()


def _far_below(page: Page) -> str:
    """A price at which a buy order waits."""
    last = float((page.locator("#quote-last").text_content() or "").replace(",", ""))
    return f"{last * 0.9:.2f}"


def _see_an_order_refused(page: Page) -> None:
    """The engine decides, and says so on the page."""
    place_order(page, side="buy", kind="limit", quantity="0.001", price=_far_below(page))
    expect(page.get_by_role("alert").filter(has_text="Rejected: buy 0.001 BTC/USDT")).to_be_visible()


def _press_the_kill_switch(page: Page) -> None:
    page.get_by_role("button", name="Kill switch", exact=True).click()
    form = panel(page, "Kill switch")
    form.get_by_label("Reason").fill("enough for today")
    form.get_by_role("button", name="Stop trading").click()
    expect(form.get_by_text("Stopped: All my trading.")).to_be_visible()
    form.get_by_role("button", name="Close").click()


def _expect_stopped(page: Page) -> None:
    expect(page.get_by_text("Trading is stopped.", exact=True)).to_be_visible()
    expect(page.get_by_text("all your trading: enough for today", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Kill switch, pressed")).to_be_visible()
