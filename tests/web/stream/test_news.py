"""/ws/stream: what comes, and what never comes."""

import asyncio
import json
from typing import Any

import pytest
import redis.asyncio
from channels.db import database_sync_to_async

from accounts.models import User
from accounts.tenancy import tenant_scope
from desproject.lib import bus
from risk.models import KillSwitch
from risk.services import lift_kill_switch, press_kill_switch
from tests.web.conftest import access_token
from tests.web.rows import Owned, make_order
from tests.web.stream.page import Open, authenticated
from trading import push as pushing
from trading.push import News, push, skip, watched
from trading.stream_socket import UserStream

pytestmark = pytest.mark.django_db(transaction=True)


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
        await push(alice.pk, News.ORDER, {"id": number})
    heard = [await page.hear_of("event") for _ in range(3)]
    assert [(message["kind"], message["data"]) for message in heard] == [("order", {"id": n}) for n in range(3)]
    assert page.sequences == list(range(1, len(page.sequences) + 1))


async def test_others_news_do_not_arrive(new_page: Open, alice: User, bob: User, token: str) -> None:
    page = await authenticated(new_page, token)
    await push(bob.pk, News.ORDER, {"id": "bobs"})
    await push(alice.pk, News.ORDER, {"id": "hers"})
    assert (await page.hear_of("event"))["data"] == {"id": "hers"}


async def test_only_users_with_an_open_page_are_watched(new_page: Open, alice: User, bob: User, token: str) -> None:
    await authenticated(new_page, token)
    async with bus.connect() as client:
        assert await watched(client, {alice.pk, bob.pk}) == {alice.pk}


async def test_where_redis_is_away_everybody_may_be_watched(alice: User, bob: User) -> None:
    async with redis.asyncio.Redis.from_url("redis://127.0.0.1:1") as nowhere:
        assert await watched(nowhere, {alice.pk, bob.pk}) == {alice.pk, bob.pk}


async def test_news_that_were_skipped_bring_a_snapshot(new_page: Open, alices: Owned, token: str) -> None:
    page = await authenticated(new_page, token)
    await push(alices.user.pk, News.ORDER, {"id": 1})
    await page.hear_of("event")
    skip(alices.user.pk)
    await push(alices.user.pk, News.ORDER, {"id": 3})
    await page.hear_of("snapshot")


async def test_a_jump_in_the_engines_sequence_brings_a_snapshot(new_page: Open, alices: Owned, token: str) -> None:
    alice = alices.user
    page = await authenticated(new_page, token)
    await push(alice.pk, News.ORDER, {"id": 1})
    await page.hear_of("event")
    pushing._sequences[alice.pk] += 1  # one got lost
    await push(alice.pk, News.ORDER, {"id": 3})
    assert [row["id"] for row in (await page.hear_of("snapshot"))["data"]["orders"]] == [str(alices.order.pk)]


async def test_another_engine_brings_a_snapshot(
    new_page: Open, alice: User, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = await authenticated(new_page, token)
    await push(alice.pk, News.ORDER, {"id": 1})
    await page.hear_of("event")
    monkeypatch.setattr(pushing, "_EPOCH", pushing._EPOCH + 1)
    await push(alice.pk, News.ORDER, {"id": 2})
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
        await push(alice.pk, News.ORDER, {"id": number})
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


async def test_pushing_never_raises(alice: User, settings: Any) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": ["redis://127.0.0.1:1/0"]},
        }
    }
    await push(alice.pk, News.ORDER, {"id": 1})


def press(user: User, level: str = "user") -> KillSwitch:
    with tenant_scope(user.pk):
        return press_kill_switch(user=user, level=level, target_id=user.pk, reason="a test", flatten=False)


def _lift(user: User, switch: KillSwitch) -> None:
    with tenant_scope(user.pk):
        lift_kill_switch(user=user, switch=switch, reason="over")


async def test_a_kill_switch_shows_on_every_page_of_the_user_and_nobody_elses(
    new_page: Open, alice: User, bob: User, token: str
) -> None:
    pages = [await authenticated(new_page, token) for _ in range(2)]
    bobs = await authenticated(new_page, await database_sync_to_async(access_token)(bob))
    switch = await database_sync_to_async(press)(alice)
    await database_sync_to_async(_lift)(alice, switch)
    for page in pages:
        pressed, lifted = await page.hear_of("event"), await page.hear_of("event")
        assert (pressed["kind"], pressed["data"]["id"], pressed["data"]["lifted_at"]) == ("kill", str(switch.pk), None)
        assert (lifted["data"]["id"], lifted["data"]["lift_reason"]) == (str(switch.pk), "over")
    await push(bob.pk, News.ORDER, {"id": "bobs"})
    assert (await bobs.hear_of("event"))["data"] == {"id": "bobs"}


async def test_the_systems_switch_shows_on_everybodys_pages_but_not_whose_hand_it_was(
    new_page: Open, alice: User, bob: User, token: str
) -> None:
    bob.is_admin = True
    await bob.asave()
    page = await authenticated(new_page, token)
    await database_sync_to_async(press)(bob, "system")
    event = await page.hear_of("event")
    assert (event["kind"], event["data"]["level"], event["data"]["target"]) == ("kill", "system", None)
    assert str(bob.pk) not in json.dumps(event)


async def test_a_kill_switch_is_no_gap_in_the_engines_news(new_page: Open, alice: User, token: str) -> None:
    page = await authenticated(new_page, token)
    await push(alice.pk, News.ORDER, {"id": 1})
    await database_sync_to_async(press)(alice)
    await push(alice.pk, News.ORDER, {"id": 2})
    assert [(await page.hear_of("event"))["kind"] for _ in range(3)] == ["order", "kill", "order"]


async def test_a_snapshot_shows_the_switches_that_hold_and_the_headroom(
    new_page: Open, alices: Owned, token: str
) -> None:
    page = await authenticated(new_page, token)
    await page.say({"type": "snapshot"})
    data = (await page.hear_of("snapshot"))["data"]
    assert [row["id"] for row in data["kill_switches"]] == [str(alices.switch.pk)]
    assert [(row["rule"], row["used"]) for row in data["headroom"]] == [("open_orders", "1")]


async def test_headroom_comes_when_it_has_changed_and_only_then(
    new_page: Open, alices: Owned, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UserStream, "headroom_seconds", 0.01)
    page = await authenticated(new_page, token)
    await page.say({"type": "snapshot"})
    await page.hear_of("snapshot")
    await push(alices.user.pk, News.ORDER, {"id": "unchanged"})
    assert (await page.hear_of("event"))["kind"] == "order"
    await asyncio.sleep(0.2)
    await database_sync_to_async(make_order)(alices.connection)
    await push(alices.user.pk, News.ORDER, {"id": "new"})
    assert (await page.hear_of("event"))["kind"] == "order"
    event = await page.hear_of("event")
    assert (event["kind"], [row["used"] for row in event["data"]]) == ("headroom", ["2"])
