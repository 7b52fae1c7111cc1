"""TEN-4 on /ws/stream: every message that a page may send, and every kind of news, has a verdict for each caller."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import Any, get_args

import pytest
from channels.db import database_sync_to_async

from accounts.models import Role, User
from desproject.lib.clock import SYSTEM_CLOCK, to_millis
from tests.web.callers import everything_stored
from tests.web.conftest import access_token
from tests.web.rows import Owned, make_order
from tests.web.stream.market import trade
from tests.web.stream.page import Open, Page, authenticated
from tests.web.stream.test_news import press
from tests.web.verdicts import CALLERS, NEWS, STREAM
from trading.push import News, push
from trading.stream_socket import UserStream, Wish

pytestmark = pytest.mark.django_db(transaction=True)

Tell = Callable[..., Awaitable[None]]


@pytest.fixture
def tokens(alices: Owned, bob: User, charlie: User) -> dict[str, str]:
    """By the callers of a verdict. Charlie leads alice's team."""
    User.objects.filter(pk=charlie.pk).update(role=Role.MANAGER)
    User.objects.filter(pk=alices.user.pk).update(manager=charlie)
    hers = access_token(alices.user)
    users = {"stranger": access_token(bob), "manager": access_token(User.objects.get(pk=charlie.pk))}
    return {**users, "owner": hers, "deleted": hers, "nobody": "none"}


def test_every_message_has_a_verdict() -> None:
    assert {wish.__struct_config__.tag for wish in get_args(Wish)} == set(STREAM)


def test_every_kind_of_news_has_a_verdict() -> None:
    assert set(NEWS) == set(News)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("kind", STREAM)
async def test_each_caller_hears_what_the_table_says(
    new_page: Open, alices: Owned, tokens: dict[str, str], kind: str, caller: str
) -> None:
    wishes = {
        "auth": {"token": tokens[caller]},
        "snapshot": {},
        "watch": {"connection": str(alices.connection.pk), "symbol": "BTC/USDT"},
    }
    if caller == "deleted":
        await User.objects.filter(pk=alices.user.pk).aupdate(is_active=False, is_deleted=True)
    before = await database_sync_to_async(everything_stored)()
    page = await new_page()
    if kind != "auth" and caller != "nobody":
        await page.say({"type": "auth", "token": tokens[caller]})
    for message in ({"type": kind, **wishes[kind]}, {"type": "snapshot"}):
        await page.say(message)
    heard = await _first(page, but=() if kind == "auth" else ("ready",))
    assert heard.get("error", {"code": heard["type"]})["code"] == getattr(STREAM[kind], caller)
    assert caller == "owner" or not _named(alices, heard)
    assert await database_sync_to_async(everything_stored)() == before


@pytest.mark.parametrize("kind", NEWS)
async def test_each_kind_of_news_is_heard_by_whom_the_table_says(
    new_page: Open, alices: Owned, tokens: dict[str, str], bob: User, charlie: User, market: Tell, kind: News,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(UserStream, "headroom_seconds", 0.01)
    pages = {caller: await authenticated(new_page, tokens[caller]) for caller in ("owner", "stranger", "manager")}
    for page in pages.values():
        await page.say({"type": "watch", "connection": str(alices.connection.pk), "symbol": "BTC/USDT"})
        await page.say({"type": "snapshot"})
        await _first(page, but=("error",))
    await _until_heard(pages["owner"], kind, lambda: _bring_about(kind, alices, market))
    heard_by = {"owner"}
    for caller, user in (("stranger", bob), ("manager", charlie)):
        await push(user.pk, News.ORDER, {"id": "the last one"})
        while (message := await _first(pages[caller])).get("data") != {"id": "the last one"}:
            heard_by |= {caller} if message.get("kind") == kind else set()
            assert not _named(alices, message)
    assert heard_by == NEWS[kind]


async def _bring_about(kind: News, alices: Owned, market: Tell) -> None:
    """As the product does: by what each kind is news of."""
    if kind == News.KILL:
        await database_sync_to_async(press)(alices.user)
    elif kind == News.CANDLE:
        now = to_millis(SYSTEM_CLOCK.now())
        await market(trade(now, "100", "1", now))
    elif kind == News.HEADROOM:
        await database_sync_to_async(make_order)(alices.connection)
        await push(alices.user.pk, News.ORDER, {"id": "another"})
    else:
        await push(alices.user.pk, kind, {"id": str(alices.order.pk)})


async def _until_heard(page: Page, kind: News, bring_about: Callable[[], Awaitable[None]]) -> None:
    """Again and again: what follows a market begins to at its own time."""
    async with asyncio.timeout(20):
        while True:
            await bring_about()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    while (await page.hear()).get("kind") != kind:
                        pass
                    return


async def _first(page: Page, but: tuple[str, ...] = ()) -> dict[str, Any]:
    """The next message but prices, which come by themselves, and those of the named types."""
    while (message := await page.hear())["type"] in ("prices", *but):
        pass
    return message


def _named(alices: Owned, message: dict[str, Any]) -> bool:
    text = json.dumps(message)
    return any(key in text for key in alices.ids)
