"""/ws/stream: who is let in, what comes, what never comes, and when it ends."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from channels.db import database_sync_to_async
from channels.testing import WebsocketCommunicator
from django.utils import timezone

from accounts import services
from accounts.caller import Caller
from accounts.models import Device, User
from connections import demand
from connections.events import Quote
from connections.prices import PriceCache
from desproject.asgi import application
from desproject.lib import bus
from tests.web.conftest import access_token
from tests.web.exchange import ALICE_KEY, BOB_KEY
from tests.web.rows import Owned, make_everything, make_order
from trading import push as pushing
from trading.push import push
from trading.stream_socket import UserStream

pytestmark = pytest.mark.django_db(transaction=True)

Open = Callable[[], Awaitable["Page"]]


class Page:
    """One open socket, as a page sees it."""

    def __init__(self, path: str = "/ws/stream", headers: list[tuple[bytes, bytes]] | None = None) -> None:
        self.socket = WebsocketCommunicator(application, path, headers=headers)
        self.sequences: list[int] = []

    async def open(self) -> bool:
        connected, _ = await self.socket.connect()
        return bool(connected)

    async def say(self, message: Any) -> None:
        await self.socket.send_to(text_data=message if isinstance(message, str) else json.dumps(message))

    async def hear(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self.socket.receive_from(timeout=5))
        self.sequences.append(message["sequence"])
        return message

    async def hear_of(self, kind: str) -> dict[str, Any]:
        """The next message of this type; prices, which come by themselves, are passed over."""
        while (message := await self.hear())["type"] == "prices":
            pass
        assert message["type"] == kind, message
        return message

    async def closed_with(self) -> int:
        output = await self.socket.receive_output(timeout=5)
        assert output["type"] == "websocket.close", output
        return int(output["code"])


@pytest.fixture
async def new_page(redis_server: str) -> AsyncIterator[Open]:
    pages: list[Page] = []

    async def open_page() -> Page:
        page = Page()
        pages.append(page)
        assert await page.open()
        return page

    yield open_page
    for page in pages:
        await page.socket.disconnect()


@pytest.fixture
def alices(alice: User) -> Owned:
    return make_everything(alice, ALICE_KEY)


@pytest.fixture
def token(alice: User) -> str:
    return access_token(alice)


async def authenticated(new_page: Open, token: str) -> Page:
    page = await new_page()
    await page.say({"type": "auth", "token": token})
    await page.hear_of("ready")
    return page


async def test_a_token_lets_in_and_a_snapshot_holds_what_is_the_users(
    new_page: Open, alices: Owned, bob: User, token: str
) -> None:
    bobs = await database_sync_to_async(make_everything)(bob, BOB_KEY)
    page = await authenticated(new_page, token)
    await page.say({"type": "snapshot"})
    message = await page.hear_of("snapshot")
    data = message["data"]
    assert [row["id"] for row in data["orders"]] == [str(alices.order.pk)]
    assert [row["id"] for row in data["trades"]] == [str(alices.trade.pk)]
    assert [row["quantity"] for row in data["positions"]] == ["0.1"]
    assert [(row["total"], row["reserved"], row["available"]) for row in data["balances"]] == [
        ("1000.25", "60.5", "939.75")
    ]
    assert [row["id"] for row in data["instances"]] == [str(alices.instance.pk)]
    assert [row["api_key_masked"] for row in data["connections"]] == ["BINANCE_***_1c77"]
    assert not [key for key in bobs.ids if key in json.dumps(message)]
    assert page.sequences == list(range(1, len(page.sequences) + 1))


async def test_a_snapshot_shows_every_open_order_and_the_newest_others(
    new_page: Open, alices: Owned, token: str
) -> None:
    await database_sync_to_async(_make_ended_orders)(alices, 60)
    page = await authenticated(new_page, token)
    await page.say({"type": "snapshot"})
    orders = (await page.hear_of("snapshot"))["data"]["orders"]
    assert len(orders) == 51
    assert str(alices.order.pk) in {row["id"] for row in orders}


def _make_ended_orders(owned: Owned, count: int) -> None:
    for _ in range(count):
        make_order(owned.connection, status="cancelled")


async def test_news_arrive_in_the_sockets_own_order(new_page: Open, alice: User, token: str) -> None:
    page = await authenticated(new_page, token)
    for number in range(3):
        await push(alice.pk, "order", {"id": number})
    heard = [await page.hear_of("event") for _ in range(3)]
    assert [(message["kind"], message["data"]) for message in heard] == [("order", {"id": n}) for n in range(3)]
    assert page.sequences == list(range(1, len(page.sequences) + 1))


async def test_others_news_do_not_arrive(new_page: Open, alice: User, bob: User, token: str) -> None:
    page = await authenticated(new_page, token)
    await push(bob.pk, "order", {"id": "bobs"})
    await push(alice.pk, "order", {"id": "hers"})
    assert (await page.hear_of("event"))["data"] == {"id": "hers"}


async def test_a_jump_in_the_engines_sequence_brings_a_snapshot(new_page: Open, alices: Owned, token: str) -> None:
    alice = alices.user
    page = await authenticated(new_page, token)
    await push(alice.pk, "order", {"id": 1})
    await page.hear_of("event")
    pushing._sequences[alice.pk] += 1  # one got lost
    await push(alice.pk, "order", {"id": 3})
    assert [row["id"] for row in (await page.hear_of("snapshot"))["data"]["orders"]] == [str(alices.order.pk)]


async def test_another_engine_brings_a_snapshot(
    new_page: Open, alice: User, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await authenticated(new_page, token)
    await push(alice.pk, "order", {"id": 1})
    await page.hear_of("event")
    monkeypatch.setattr(pushing, "_EPOCH", pushing._EPOCH + 1)
    await push(alice.pk, "order", {"id": 2})
    await page.hear_of("snapshot")


async def test_more_news_than_a_page_takes_become_a_snapshot(
    new_page: Open, alice: User, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UserStream, "queue_bound", 3)
    page = await authenticated(new_page, token)
    stuck, sent = asyncio.Event(), UserStream._send

    async def slow_send(self: UserStream, message: dict[str, Any]) -> None:
        await stuck.wait()
        await sent(self, message)

    monkeypatch.setattr(UserStream, "_send", slow_send)
    for number in range(20):
        await push(alice.pk, "order", {"id": number})
    last = await _until_quiet(alice)
    stuck.set()
    kinds = []
    while "snapshot" not in kinds:
        kinds.append((await page.hear())["type"])
    assert len(kinds) < last


async def _until_quiet(alice: User) -> int:
    """Gives the layer time to bring everything to the socket's task; returns how many were pushed."""
    for _ in range(50):
        await asyncio.sleep(0.01)
    return pushing._sequences[alice.pk]


@pytest.mark.parametrize("bad", ["", "not.a.token", "x" * 5000])
async def test_a_bad_token_is_refused(new_page: Open, bad: str) -> None:
    page = await new_page()
    await page.say({"type": "auth", "token": bad})
    assert (await page.hear())["error"]["code"] == "TOKEN_INVALID"
    assert await page.closed_with() == 4401


async def test_a_refresh_token_is_refused(new_page: Open, alice: User) -> None:
    session = await database_sync_to_async(services.register)(
        email="dora@example.org", password="plum-sunrise-otter", device_name="x", caller=Caller(None, "")
    )
    page = await new_page()
    await page.say({"type": "auth", "token": session.refresh})
    await page.hear()
    assert await page.closed_with() == 4401


async def test_a_stale_token_is_refused(new_page: Open, alice: User, token: str) -> None:
    await User.objects.filter(pk=alice.pk).aupdate(token_version=1)
    page = await new_page()
    await page.say({"type": "auth", "token": token})
    assert (await page.hear())["error"]["code"] == "TOKEN_INVALID"
    assert await page.closed_with() == 4401


async def test_silence_is_not_waited_for(new_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UserStream, "auth_seconds", 0.05)
    page = await new_page()
    assert (await page.hear())["error"]["code"] == "UNAUTHENTICATED"
    assert await page.closed_with() == 4401


async def test_nothing_is_told_before_the_token(new_page: Open) -> None:
    page = await new_page()
    await page.say({"type": "snapshot"})
    assert (await page.hear())["error"]["code"] == "UNAUTHENTICATED"
    assert await page.closed_with() == 4401


@pytest.mark.parametrize(
    "bad",
    ["null", "[]", "{}", '{"type": "order"}', '{"type": "auth"}', '{"type": "auth", "token": 7}', "{",
     '"' + "x" * 10_000 + '"', "[" * 8000],
)  # fmt: skip
async def test_what_is_not_understood_ends_the_socket(new_page: Open, token: str, bad: str) -> None:
    page = await authenticated(new_page, token)
    await page.say(bad)
    assert (await page.hear_of("error"))["error"]["code"] == "BAD_MESSAGE"
    assert await page.closed_with() == 4400


async def test_bytes_are_not_understood(new_page: Open, token: str) -> None:
    page = await authenticated(new_page, token)
    await page.socket.send_to(bytes_data=b"\x00\xff")
    assert (await page.hear_of("error"))["error"]["code"] == "BAD_MESSAGE"
    assert await page.closed_with() == 4400


async def test_a_revoked_device_is_noticed(
    new_page: Open, alice: User, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UserStream, "recheck_seconds", 0.05)
    page = await authenticated(new_page, token)
    await Device.objects.filter(user=alice).aupdate(revoked_at=timezone.now())
    assert (await page.hear_of("error"))["error"]["code"] == "TOKEN_INVALID"
    assert await page.closed_with() == 4401


async def test_the_socket_ends_with_its_token(new_page: Open, alice: User, settings: Any) -> None:
    settings.ACCESS_TOKEN_LIFETIME = timedelta(seconds=2)
    page = await authenticated(new_page, await database_sync_to_async(access_token)(alice))
    assert (await page.hear_of("error"))["error"]["code"] == "TOKEN_EXPIRED"
    assert await page.closed_with() == 4401


async def test_other_origins_and_paths_are_refused(redis_server: str) -> None:
    assert not await Page(headers=[(b"origin", b"https://evil.example")]).open()
    assert not await Page(path="/ws/other").open()
    own = Page(headers=[(b"origin", b"http://localhost:8000")])
    assert await own.open()
    await own.socket.disconnect()


async def test_pushing_never_raises(alice: User, settings: Any) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": ["redis://127.0.0.1:1/0"]},
        }
    }
    await push(alice.pk, "order", {"id": 1})


async def test_prices_of_the_users_feeds_come_by_themselves_and_only_when_changed(
    new_page: Open, alices: Owned, token: str
) -> None:
    cache = PriceCache()
    client = bus.connect()
    cache.take("binance_spot:simulator", Quote("BTC/USDT", 1_000_000, Decimal(1), Decimal(5), Decimal(2), Decimal(5)))
    cache.take("binance_spot:live", Quote("BTC/USDT", 1_000_000, Decimal(7), Decimal(5), Decimal(8), Decimal(5)))
    await cache.mirror_once(client)
    page = await authenticated(new_page, token)
    first = await page.hear()
    cache.take("binance_spot:simulator", Quote("BTC/USDT", 2_000_000, Decimal(3), Decimal(5), Decimal(4), Decimal(5)))
    await cache.mirror_once(client)
    second = await page.hear()
    await client.aclose()
    assert [message["type"] for message in (first, second)] == ["prices", "prices"]
    assert first["data"] == [
        {"feed": "binance_spot:simulator", "symbol": "BTC/USDT", "last": None, "bid": "1", "ask": "2", "seen_ms": 1}
    ]
    assert [(row["bid"], row["ask"]) for row in second["data"]] == [("3", "4")]


async def test_the_stream_processes_are_asked_for_the_symbols_on_the_page(
    new_page: Open, alices: Owned, token: str
) -> None:
    client = bus.connect()
    page = await authenticated(new_page, token)
    await page.say({"type": "snapshot"})
    await page.hear_of("snapshot")
    wanted: set[str] = set()
    for _ in range(100):
        wanted = await demand.asked(client, "binance_spot:simulator")
        if wanted:
            break
        await asyncio.sleep(0.02)
    await client.aclose()
    assert wanted == {"BTC/USDT"}
