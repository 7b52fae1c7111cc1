"""A demo that trades, as its users and the exchange behind it see it."""

import json
import os
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from desproject.config import BASE_DIR
from tests.conftest import PASSWORD
from tests.system.installation import Installation


@dataclass(frozen=True, slots=True)
class Account:
    """Money at the simulated exchange."""

    key: str
    secret: str


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can log in."""

    email: str
    password: str = PASSWORD


class Trading:
    """A running demo: its two users trade, whoever registers may join them."""

    def __init__(self, installation: Installation, environment: Mapping[str, str]) -> None:
        self.installation = installation
        self._note = installation.note
        self._environment = environment

    @property
    def url(self) -> str:
        return str(self._note["url"])

    @property
    def busy(self) -> Person:
        """A user whose strategies trade all the time."""
        return Person(**self._note["users"][0])

    def open_account(self) -> Account:
        account = Account(f"browser{secrets.token_hex(28)}", secrets.token_hex(32))
        balances = {"USDT": "50000", "BTC": "1", "ETH": "0"}
        self.control("accounts", {"api_key": account.key, "api_secret": account.secret, "balances": balances})
        return account

    def orders_received(self, account: Account) -> list[str]:
        """The client ids of all orders that the exchange ever got for this account, by its own books."""
        return list(self.control("ledger")["accounts"][account.key]["received"])

    def fill_times(self, email: str) -> list[datetime]:
        """When each filled order of a user was filled, by the exchange's stamp; oldest first."""
        rows = self.installation.query(
            "SELECT max(trades.executed_at) AS filled FROM trades JOIN orders ON orders.id = trades.order_id "  # noqa: S608
            "JOIN users ON users.id = trades.user_id "
            f"WHERE users.email = '{email}' AND orders.status = 'filled' GROUP BY orders.id ORDER BY filled"
        )
        return [_moment(value) for (value,) in rows]

    def register(self, email: str) -> Person:
        self.api("register", {"email": email, "password": PASSWORD})
        return Person(email)

    def operator(self) -> Person:
        """A new administrator, made as the first one of an installation is."""
        person = Person(f"operator-{secrets.token_hex(4)}@example.org")
        subprocess.run(
            [sys.executable, "manage.py", "createsuperuser", "--noinput", "--skip-checks", "--email", person.email],
            cwd=BASE_DIR, env={**os.environ, **self._environment, "DJANGO_SUPERUSER_PASSWORD": person.password},
            check=True, capture_output=True,
        )  # fmt: skip
        return person

    def connections(self, token: str) -> list[str]:
        """The ids of a user's connections."""
        return [row["id"] for row in self.api("connections", None, token)["results"]]

    def api(self, path: str, body: Mapping[str, Any] | None, token: str = "") -> Any:
        """Posts to DES's API, or reads from it when there is nothing to post."""
        return _json(f"{self.url}/api/{path}", body, {"Authorization": f"Bearer {token}"} if token else {})

    def delete(self, path: str, body: Mapping[str, Any], token: str) -> Any:
        """Deletes by DES's API."""
        return _json(f"{self.url}/api/{path}", body, {"Authorization": f"Bearer {token}"}, method="DELETE")

    def bind(self, person: Person, name: str) -> Account:
        """A connection of this name to a new account."""
        account = self.open_account()
        body = {
            "name": name, "exchange": "binance_spot", "mode": "simulator",
            "api_key": account.key, "api_secret": account.secret,
        }  # fmt: skip
        self.api("connections", body, self.token(person))
        return account

    def token(self, person: Person) -> str:
        told = self.api("login", {"email": person.email, "password": person.password})
        return str(told["token"])

    def control(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Asks the simulated exchange's control; posts when there is a body."""
        exchange = self._note["exchange"]
        return _json(f"{exchange['control']}/{path}", body, {"X-Sim-Control": exchange["token"]})


def _moment(value: datetime | str) -> datetime:
    """SQLite tells times as text, in UTC."""
    return value if isinstance(value, datetime) else datetime.fromisoformat(value).replace(tzinfo=UTC)


def _json(
    url: str, body: Mapping[str, Any] | None, headers: Mapping[str, str], *, method: str | None = None
) -> Any:
    data = None if body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(url, data, sent, method=method)  # noqa: S310  # ours
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        return json.loads(answer.read() or "null")
