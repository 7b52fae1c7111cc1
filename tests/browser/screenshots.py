"""Pictures of every page for people to look at: `make screenshots` puts them into var/screenshots.

Phone and desktop, light and dark; a desk that is empty, busy, stale, in trouble, stopped; forms and account pages.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, Page, expect

from desproject.config import BASE_DIR
from tests.browser import chromium
from tests.browser.desk import enter_admin, expect_live, log_in
from tests.browser.installation import running
from tests.browser.line import Line, Message
from tests.system.trading import Trading

FOLDER = BASE_DIR / "var" / "screenshots"
SIZES: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1440, "height": 900}},
    "phone": {
        "viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True,
    },
}  # fmt: skip
THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
VIEWS = ("Market", "Trade", "Activity", "Strategies", "Risk", "Accounts")
_DOORS = {
    "login": "/login", "register": "/register", "reset": "/password/reset", "reset-code": "/password/reset/confirm",
}  # fmt: skip
_ACCOUNT = {
    "account": "/account", "password": "/account/password", "disclosure": "/account/disclosure",
    "audit-log": "/account/audit-log", "delete": "/account/delete",
}  # fmt: skip


class Camera:
    """Takes one size's pictures."""

    def __init__(self, browser: Browser, trading: Trading, size: str) -> None:
        self._browser = browser
        self._url = trading.url
        self.size = size
        self.phone = size == "phone"

    @contextmanager
    def page(self) -> Iterator[Page]:
        with self._browser.new_context(base_url=self._url, **SIZES[self.size]) as context:
            context.set_default_timeout(30_000)
            yield context.new_page()

    def take(self, page: Page, name: str, *, whole: bool = False, again: bool = False) -> None:
        """In both themes. ``whole``: as far down as the page goes. ``again``: the page asks for the theme only when it
        is loaded."""
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            if again:
                page.reload()
            page.screenshot(path=FOLDER / f"{name}-{self.size}-{theme}.png", full_page=whole)

    def desk(self, page: Page, name: str, views: tuple[str, ...] = VIEWS) -> None:
        """The whole desk; on a phone view by view."""
        if not self.phone:
            self.take(page, name, whole=True)
            return
        for view in views:
            page.get_by_role("navigation", name="Sections").get_by_role("button", name=view).click()
            self.take(page, f"{name}-{view.lower()}")


def doors(camera: Camera, trading: Trading) -> None:
    with camera.page() as page:
        for name, path in _DOORS.items():
            page.goto(path)
            camera.take(page, name)
        page.goto("/login")
        page.get_by_label("E-mail").fill("nobody@example.org")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Log in").click()
        camera.take(page, "login-refused")


def empty(camera: Camera, trading: Trading) -> None:
    with camera.page() as page:
        log_in(page, trading.register(f"empty-{camera.size}@example.org"))
        camera.desk(page, "empty")
        for name, path in _ACCOUNT.items():
            page.goto(path)
            camera.take(page, name, whole=True)
        page.goto("/account")
        page.get_by_role("button", name="Set up").click()
        camera.take(page, "second-factor", whole=True)


def busy(camera: Camera, trading: Trading) -> None:
    with camera.page() as page:
        log_in(page, trading.busy)
        _wait_for_the_charts(page)
        camera.desk(page, "busy")
        for tab in ("Open orders", "Closed orders", "Trades", "Balances"):
            if camera.phone:
                page.get_by_role("navigation", name="Sections").get_by_role("button", name="Activity").click()
            page.get_by_role("tab", name=tab).click()
            camera.take(page, f"busy-{tab.lower().replace(' ', '-')}")
        if camera.phone:
            page.get_by_role("navigation", name="Sections").get_by_role("button", name="Strategies").click()
        for button, name in {"New strategy": "new-strategy", "Kill switch": "kill-switch"}.items():
            page.get_by_role("button", name=button, exact=True).first.click()
            expect(page.get_by_role("dialog").locator("form").first).to_be_visible()
            camera.take(page, name)
            page.get_by_role("dialog").get_by_role("button", name="Close").click()
        page.locator(".menu summary").click()
        camera.take(page, "menu")


def stale(camera: Camera, trading: Trading) -> None:
    with camera.page() as page:
        page.clock.install()
        line = Line(page)
        log_in(page, trading.busy)
        _wait_for_the_charts(page)
        line.dead = True
        page.clock.fast_forward(14_000)
        page.clock.fast_forward(7_000)
        expect(page.get_by_text("Stale ·")).to_be_visible()
        camera.desk(page, "stale", ("Market", "Trade", "Activity"))
        page.clock.fast_forward(60_000)
        expect(page.get_by_text("Offline ·")).to_be_visible()
        camera.desk(page, "offline", ("Market",))


def in_trouble(camera: Camera, trading: Trading) -> None:
    with camera.page() as page:
        Line(page).alter = _troubled
        log_in(page, trading.busy)
        _wait_for_the_charts(page)
        camera.desk(page, "error")
        if camera.phone:
            page.get_by_role("navigation", name="Sections").get_by_role("button", name="Activity").click()
        page.get_by_role("tab", name="Closed orders").click()
        camera.take(page, "error-closed-orders")
        if camera.phone:
            page.get_by_role("navigation", name="Sections").get_by_role("button", name="Trade").click()
        page.get_by_role("form", name="New order").get_by_role("button", name="Place order").click()
        expect(page.get_by_role("form", name="New order").locator(".error").first).to_be_visible()
        camera.take(page, "error-ticket")


def _troubled(message: Message) -> Message:
    """A snapshot in which everything that can go wrong has."""
    if message["type"] != "snapshot":
        return message
    data = message["data"]
    for row in data["connections"]:
        row.update(status="unhealthy")
    for row in data["instances"][:1]:
        row.update(status="error", status_reason="ZeroDivisionError: division by zero (rsi.py, line 41)")
    for row, status in zip(data["orders"], ("rejected", "unknown", "expired"), strict=False):
        row.update(status=status, reject_code="INSUFFICIENT_BALANCE" if status == "rejected" else "")
        if status == "rejected":
            row.update(reject_reason="Account has insufficient balance for requested action.")
    for row, ratio in zip(data["headroom"], ("1.00", "0.86"), strict=False):
        row.update(ratio=ratio)
    data["kill_switches"] = [{
        "id": "1", "level": "user", "target": None, "flatten": False, "reason": "the market is mad today",
        "created_at": "2026-01-01T00:00:00Z", "lifted_at": None,
    }]  # fmt: skip
    return message


def admin(camera: Camera, trading: Trading) -> None:
    with camera.page() as page:
        operator = trading.operator()
        page.goto("/admin/")
        camera.take(page, "admin-login", again=True)
        enter_admin(page, operator)
        camera.take(page, "admin", whole=True, again=True)
        page.goto("/admin/accounts/user/")
        camera.take(page, "admin-users", again=True)


def _wait_for_the_charts(page: Page) -> None:
    expect_live(page)
    expect(page.locator("#chart-note")).to_be_hidden()
    # On a phone it stands on a view of its own.
    expect(page.locator("#strategies-table tbody tr").nth(1)).to_be_attached()


SCENES: dict[str, Callable[[Camera, Trading], None]] = {
    scene.__name__: scene for scene in (doors, empty, busy, stale, in_trouble, admin)
}


def main(wanted: list[str]) -> int:
    program = chromium.find()
    if program is None:
        print("there is no Chromium on this machine: no pictures")  # noqa: T201
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        running(Path(folder)) as trading,
        chromium.headless(program) as browser,
    ):
        _rest_some_orders(trading)
        for size in SIZES:
            for name in wanted or SCENES:
                SCENES[name](Camera(browser, trading, size), trading)
    print(f"{len(list(FOLDER.glob('*.png')))} pictures in {FOLDER}")  # noqa: T201
    return 0


def _rest_some_orders(trading: Trading) -> None:
    """A busy user has something that waits."""
    token = trading.token(trading.busy)
    connection = trading.connections(token)[0]
    for symbol, quantity, price in (("BTC/USDT", "0.002", "40000"), ("BTC/USDT", "0.001", "35000.5")):
        order = {"connection": connection, "symbol": symbol, "side": "buy", "type": "limit"}
        trading.api("orders", order | {"quantity": quantity, "price": price}, token)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
