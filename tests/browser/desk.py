"""The console as its user works with it: by what stands on it, not by how it is made."""

from playwright.sync_api import BrowserContext, ConsoleMessage, Error, Locator, Page, expect

from tests.system.trading import Account, Person

LIVE = "Live"


class Watched:
    """Collects what pages of a context complain of. Chromium reports a broken content policy as a console error."""

    def __init__(self, context: BrowserContext) -> None:
        self.errors: list[str] = []
        # What a test brings about itself, by a part of its text.
        self.expected: list[str] = []
        context.on("console", self._console)
        context.on("weberror", lambda raised: self._note(f"raised: {_text(raised.error)}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._note(f"{message.text} ({message.location.get('url')})")

    def _note(self, text: str) -> None:
        if not any(part in text for part in self.expected):
            self.errors.append(text)


def _text(error: Error) -> str:
    return f"{error.message}\n{error.stack}"


def register(page: Page, email: str, password: str) -> None:
    page.goto("/register")
    enter(page, email, password, "Register")


def log_in(page: Page, person: Person) -> None:
    page.goto("/login")
    enter(page, person.email, person.password, "Log in")


def enter(page: Page, email: str, password: str, button: str) -> None:
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name=button).click()
    expect_live(page)


def enter_admin(page: Page, operator: Person) -> None:
    """By the admin site's own log-in."""
    page.goto("/admin/")
    page.get_by_label("Email").fill(operator.email)
    page.get_by_label("Password").fill(operator.password)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("region", name="State of the installation")).to_be_visible()


def expect_live(page: Page) -> None:
    expect(page.get_by_text(LIVE, exact=True)).to_be_visible()


def panel(page: Page, title: str) -> Locator:
    """The side panel that is open."""
    return page.get_by_role("dialog", name=title)


def table(page: Page, caption: str) -> Locator:
    return page.get_by_role("table", name=caption)


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def bind_account(page: Page, name: str, account: Account) -> None:
    page.get_by_role("button", name="Bind account").click()
    form = panel(page, "Bind an exchange account")
    form.get_by_label("Name").fill(name)
    form.get_by_label("Mode").select_option("simulator")
    form.get_by_label("API key").fill(account.key)
    form.get_by_label("API secret").fill(account.secret)
    form.get_by_role("button", name="Test and save").click()
    expect(table(page, "Connections").get_by_text(name, exact=True)).to_be_visible()


def create_strategy(page: Page, name: str) -> None:
    """An RSI that trades within seconds, made by the form that the strategy's schema draws."""
    page.get_by_role("button", name="New strategy").first.click()
    form = panel(page, "New strategy")
    form.get_by_label("Name", exact=True).fill(name)
    form.get_by_label("Strategy", exact=True).select_option("rsi")
    form.get_by_label("Timeframe").select_option("1s")
    parameters = form.get_by_role("group", name="parameters")
    parameters.get_by_label("Period").fill("2")
    parameters.get_by_label("Oversold").fill("49")
    parameters.get_by_label("Overbought").fill("51")
    parameters.get_by_label("Evaluate on").select_option("quote")
    form.get_by_label("Amount").fill("500")
    form.get_by_role("button", name="Create").click()
    expect(table(page, "Strategies").get_by_text(name, exact=True)).to_be_visible()


def place_order(page: Page, *, side: str, kind: str, quantity: str, price: str) -> None:
    ticket = page.get_by_role("form", name="New order")
    ticket.get_by_label("Side").select_option(side)
    ticket.get_by_label("Type").select_option(kind)
    ticket.get_by_label("Quantity").fill(quantity)
    ticket.get_by_label("Price", exact=True).fill(price)
    ticket.get_by_role("button", name="Place order").click()
    expect(ticket.get_by_text("Order accepted")).to_be_visible()
