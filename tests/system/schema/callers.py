"""Who calls, and what there is for them: values that nobody guesses, without which each answer is "no such row"."""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import uuid4

from django.contrib.auth.hashers import make_password
from django.db import transaction

from accounts import disclosure, second_factor, tokens
from accounts.caller import Caller as Address
from accounts.models import Device, PasswordReset, Role, User
from desproject.lib.clock import SYSTEM_CLOCK
from tests.accounts.second_factor import app_code
from tests.conftest import PASSWORD
from tests.web.exchange import ALICE_KEY
from tests.web.rows import Owned, make_everything

Values = Mapping[str, Any]
# What only some roles may do is tried as one of them.
_ROLES = {
    "/api/users": Role.MANAGER, "/api/users/{id}": Role.ADMINISTRATOR,
    "/api/metrics": Role.ADMINISTRATOR, "/api/metrics/latency": Role.ADMINISTRATOR,
    "/api/strategy-instances/{id}/dry-run-lift": Role.ADMINISTRATOR,
    "/api/risk/events": Role.ADMINISTRATOR, "/api/risk/events/{id}": Role.ADMINISTRATOR,
}  # fmt: skip
_NEW_PASSWORD = "plum-sunrise-otter"
_HERE = Address("192.0.2.1", "a test")


@dataclass(frozen=True)
class Caller:
    """A user with one row of every kind and a session, who calls one path."""

    path: str
    owned: Owned
    device: Device

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token('access')}"}

    def token(self, kind: tokens.TokenType) -> str:
        return tokens.issue(self.owned.user, self.device, kind, now=SYSTEM_CLOCK.now(), jti=self.device.refresh_jti)

    def knows(self, values: object) -> bool:
        """Whether there is something for this caller under one of these names."""
        return isinstance(values, Mapping) and not _known(self.path).keys().isdisjoint(values)

    def filled(self, values: Values) -> dict[str, Any]:
        """The same names, with what there is in place of what was made up."""
        known = _known(self.path)
        return {name: known[name](self, values) if name in known else value for name, value in values.items()}


def new_caller(path: str) -> Caller:
    """Somebody new, in the role that the path wants."""
    role = _ROLES.get(path, Role.TRADER)
    with transaction.atomic():
        user = User.objects.create(
            email=_new_email(), password=_hashed(PASSWORD), role=role, is_admin=role == Role.ADMINISTRATOR
        )
        device = Device.objects.create(user=user, name="here", refresh_jti=uuid4(), last_used_at=SYSTEM_CLOCK.now())
        return Caller(path, make_everything(user, ALICE_KEY), device)


# Slow by design, and for all the same.
_hashed = cache(make_password)


def _new_email() -> str:
    return f"user{secrets.token_hex(6)}@example.org"


def _row(caller: Caller, values: Values) -> str:
    """Of the kind that the path is about, or the level among the values."""
    owned, resource = caller.owned, caller.path.split("/")[2]
    if resource == "users":
        return str(User.objects.create(email=_new_email(), password="!").pk)
    by_resource = {
        "connections": owned.connection, "strategy-instances": owned.instance, "orders": owned.order,
        "devices": owned.device, "risk": owned.event,
    }  # fmt: skip
    by_level = {"connection": owned.connection, "strategy": owned.instance}
    row: Any = by_resource.get(resource) or by_level.get(str(values.get("level")), owned.user)
    return str(row.pk)


def _reset_code(caller: Caller, _: Values) -> str:
    code = secrets.token_urlsafe(32)
    PasswordReset.objects.create(
        user=caller.owned.user, expires_at=SYSTEM_CLOCK.now() + timedelta(minutes=30),
        token_hash=hashlib.sha256(code.encode()).hexdigest(),
    )
    return code


def _app_code(caller: Caller, _: Values) -> str:
    return app_code(second_factor.enrol(caller.owned.user, _HERE).secret, SYSTEM_CLOCK.now())


Maker = Callable[[Caller, Values], Any]
_EVERYWHERE: dict[str, Maker] = {
    "id": _row,
    "connection": lambda caller, _: str(caller.owned.connection.pk),
    "strategy_instance": lambda caller, _: str(caller.owned.instance.pk),
    "order": lambda caller, _: str(caller.owned.order.pk),
    "user": lambda caller, _: str(caller.owned.user.pk),
    "email": lambda caller, _: caller.owned.user.email,
    "password": lambda *_: PASSWORD,
    "current_password": lambda *_: PASSWORD,
    "new_password": lambda *_: _NEW_PASSWORD,
    "exchange": lambda *_: "binance_spot",
    "feed": lambda *_: "binance_spot:simulator",
    "mode": lambda *_: "simulator",
    "api_key": lambda *_: ALICE_KEY.api_key,
    "api_secret": lambda *_: ALICE_KEY.api_secret,
    "symbol": lambda *_: "BTC/USDT",
    "strategy": lambda *_: "rsi",
    "timeframe": lambda *_: "1m",
    "params": lambda *_: {"period": 14},
    "sizing": lambda *_: {"type": "quote_amount", "amount": "100"},
}
_ON_ONE_PATH: dict[str, dict[str, Maker]] = {
    "/api/orders": {
        "type": lambda *_: "limit", "quantity": lambda *_: "0.01", "price": lambda *_: "50000",
        "time_in_force": lambda *_: "gtc", "reduce_only": lambda *_: False,
        **dict.fromkeys(("stop_price", "trail_rate", "oco_with", "expires_at", "timeout_seconds"), lambda *_: None),
    },
    "/api/login": {"otp": lambda *_: ""},
    "/api/register": {"email": lambda *_: _new_email(), "password": lambda *_: _NEW_PASSWORD},
    "/api/users": {"email": lambda *_: _new_email(), "password": lambda *_: _NEW_PASSWORD, "role": lambda *_: "trader"},
    "/api/password/reset/confirm": {"token": _reset_code},
    "/api/token/refresh": {"refresh": lambda caller, _: caller.token("refresh")},
    "/api/otp/confirm": {"otp": _app_code},
    "/api/disclosure/accept": {"version": lambda *_: disclosure.current_version()},
}


def _known(path: str) -> dict[str, Maker]:
    return _EVERYWHERE | _ON_ONE_PATH.get(path, {})
