"""/ws/stream: who is let in, and what is listened to."""

import json

import pytest
from channels.db import database_sync_to_async
from django.conf import settings

from accounts import services
from accounts.caller import Caller
from accounts.models import User
from tests.web.exchange import BOB_KEY
from tests.web.rows import Owned, make_everything
from tests.web.stream.page import Open, Page, authenticated
from trading.stream_socket import UserStream

pytestmark = pytest.mark.django_db(transaction=True)


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
     '"' + "x" * 10_000 + '"', "[" * 8000, "true", "7", "7.5", '"auth"', "NaN", '{"type": NaN}', '{"type": null}',
     '{"type": ["snapshot"]}', '{"type": "watch"}', '{"type": "watch", "connection": 7, "symbol": "BTC/USDT"}',
     '{"type": "watch", "connection": "x", "symbol": "BTC/USDT"}',
     '{"type": "watch", "connection": "00000000-0000-0000-0000-000000000000", "symbol": "BTCUSDT"}',
     '{"type": "watch", "connection": "00000000-0000-0000-0000-000000000000", "symbol": null}',
     '{"type": "watch", "connection": "00000000-0000-0000-0000-000000000000", "symbol": "<b>/USDT"}',
     '{"type": "snapshot", "x": ' + "[" * 3000 + "]" * 3000 + "}", '{"type": "snapshot"} {}', '{"type": "\\ud800"}'],
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


async def test_other_origins_and_paths_are_refused(redis_server: str) -> None:
    assert not await Page(headers=[(b"origin", b"https://evil.example")]).open()
    assert not await Page(path="/ws/other").open()
    own = Page(headers=[(b"origin", b"http://localhost:8000")])
    assert await own.open()
    await own.close()


async def test_a_page_that_floods_is_closed(new_page: Open, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings.CONFIG, "rate_limit_messages", 3)
    page = await authenticated(new_page, token)
    for _ in range(6):
        await page.say({"type": "snapshot"})
    while (message := await page.hear())["type"] != "error":
        pass
    assert message["error"]["code"] == "RATE_LIMITED"
    assert await page.closed_with() == 4429
    while not await page.socket.receive_nothing():
        assert "RATE_LIMITED" not in str(await page.socket.receive_output()), "it is told once"


async def test_one_user_has_only_so_many_pages(new_page: Open, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings.CONFIG, "rate_limit_sockets", 2)
    first, _ = [await authenticated(new_page, token) for _ in range(2)]
    third = await new_page()
    await third.say({"type": "auth", "token": token})
    assert (await third.hear_of("error"))["error"]["code"] == "RATE_LIMITED"
    assert await third.closed_with() == 4429
    await first.close()
    await authenticated(new_page, token)


async def test_pages_that_one_address_opens_are_counted_as_requests(
    new_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis that is too slow for a moment makes this process count for itself: then twice as many are let in."""
    monkeypatch.setattr(UserStream, "auth_seconds", 0.05)
    monkeypatch.setattr(settings.CONFIG, "rate_limit_requests", 2)
    told: list[str] = []
    while told.count("UNAUTHENTICATED") <= 4 and "RATE_LIMITED" not in told:
        page = await new_page()
        told.append((await page.hear_of("error"))["error"]["code"])
    assert told[:2] == ["UNAUTHENTICATED"] * 2
    assert told[-1] == "RATE_LIMITED"
    assert await page.closed_with() == 4429
