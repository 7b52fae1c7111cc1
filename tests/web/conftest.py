"""Clients of the API, logged in or not."""

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
import redis
from django.conf import settings
from django.db import connections
from rest_framework.test import APIClient

from accounts import tokens
from accounts.models import Device, User
from accounts.stored_keys import stored_key
from desproject.lib.clock import SYSTEM_CLOCK
from tests.web.exchange import ThreadedExchange

Client = Callable[[User], APIClient]


def access_token(user: User) -> str:
    """As a log-in on a new device would give."""
    device = Device.objects.create(user=user, name=uuid4().hex, refresh_jti=uuid4(), last_used_at=SYSTEM_CLOCK.now())
    return tokens.issue(user, device, "access", now=SYSTEM_CLOCK.now())


@pytest.fixture(autouse=True)
def _clean_redis(redis_server: str) -> Iterator[None]:
    """Log-ins count their tries in Redis; the keys of another test's database are forgotten."""
    stored_key.cache_clear()
    yield
    client = redis.Redis.from_url(redis_server)
    client.flushdb()
    client.close()


@pytest.fixture(autouse=True)
def _no_kept_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the web process: a thread that served a request keeps no database connection."""
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)


@pytest.fixture
def anonymous(db: None) -> APIClient:
    return APIClient()


@pytest.fixture
def logged_in(db: None) -> Client:
    """A client that carries an access token of the user, on a device of its own. Spares the password's hash."""

    def log_in(user: User) -> APIClient:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {access_token(user)}")
        return client

    return log_in


@pytest.fixture
def as_alice(alice: User, logged_in: Client) -> APIClient:
    return logged_in(alice)


@pytest.fixture
def as_bob(bob: User, logged_in: Client) -> APIClient:
    return logged_in(bob)


@pytest.fixture
def many_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that ask more in a minute than people do."""
    monkeypatch.setattr(settings.CONFIG, "rate_limit_requests", 10_000)
    monkeypatch.setattr(settings.CONFIG, "rate_limit_global_requests", 10_000)


@pytest.fixture(scope="session")
def _exchange() -> Iterator[ThreadedExchange]:
    with ThreadedExchange() as exchange:
        yield exchange


@pytest.fixture
def exchange(_exchange: ThreadedExchange, monkeypatch: pytest.MonkeyPatch) -> ThreadedExchange:
    """A simulated exchange that connections of mode ``simulator`` reach."""
    monkeypatch.setattr(settings.CONFIG, "simulator_url", _exchange.url)
    return _exchange
