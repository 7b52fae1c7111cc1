"""/ws/stream: a page ends with its session."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from channels.db import database_sync_to_async
from django.utils import timezone

from accounts import deletion, services
from accounts.caller import Caller
from accounts.models import Device, User
from desproject.lib.clock import SYSTEM_CLOCK, to_millis
from tests.conftest import PASSWORD
from tests.web.conftest import access_token
from tests.web.stream.page import Open, authenticated
from trading.push import News, push
from trading.stream_socket import UserStream

pytestmark = pytest.mark.django_db(transaction=True)

HERE = Caller(ip="192.0.2.1", user_agent="a test")


async def test_a_revoked_device_is_noticed(
    new_page: Open, alice: User, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UserStream, "recheck_seconds", 0.05)
    page = await authenticated(new_page, token)
    await Device.objects.filter(user=alice).aupdate(revoked_at=timezone.now())
    assert (await page.hear_of("error"))["error"]["code"] == "TOKEN_INVALID"
    assert await page.closed_with() == 4401


def _log_out_everywhere(alice: User) -> None:
    for device in Device.objects.filter(user=alice):
        services.revoke_device(user=alice, device_id=device.pk, caller=HERE)


def _change_password(alice: User) -> None:
    services.change_password(user=alice, current=PASSWORD, new="plum-sunrise-otter", caller=HERE)


def _delete(alice: User) -> None:
    deletion.delete_own(user=alice, password=PASSWORD, caller=HERE)


@pytest.mark.parametrize("end", [_log_out_everywhere, _change_password, _delete])
async def test_open_pages_end_at_once_with_the_session(
    new_page: Open, alice: User, token: str, end: Callable[[User], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UserStream, "recheck_seconds", 60.0)
    page = await authenticated(new_page, token)
    await database_sync_to_async(end)(alice)
    assert (await page.hear_of("error"))["error"]["code"] == "TOKEN_INVALID"
    assert await page.closed_with() == 4401


async def test_anothers_session_goes_on(
    new_page: Open, alice: User, bob: User, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UserStream, "recheck_seconds", 60.0)
    page = await authenticated(new_page, token)
    await database_sync_to_async(_change_password)(bob)
    await push(alice.pk, News.ORDER, {"id": 1})
    assert (await page.hear_of("event"))["data"] == {"id": 1}


async def test_the_socket_ends_with_its_token(new_page: Open, alice: User, settings: Any) -> None:
    settings.ACCESS_TOKEN_LIFETIME = timedelta(seconds=2)
    page = await authenticated(new_page, await database_sync_to_async(access_token)(alice))
    assert (await page.hear_of("error"))["error"]["code"] == "TOKEN_EXPIRED"
    assert await page.closed_with() == 4401


class JumpyClock:
    """The machine's clock, whose wall time somebody sets."""

    def __init__(self) -> None:
        self.set_by = timedelta()

    def now(self) -> datetime:
        return SYSTEM_CLOCK.now() + self.set_by

    def monotonic(self) -> float:
        return SYSTEM_CLOCK.monotonic()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> JumpyClock:
    jumpy = JumpyClock()
    monkeypatch.setattr(UserStream, "clock", jumpy)
    monkeypatch.setattr(UserStream, "recheck_seconds", 0.05)
    return jumpy


@pytest.mark.parametrize("hours", [-48, 48])
async def test_every_message_carries_the_servers_time_also_when_that_jumps(
    new_page: Open, alice: User, token: str, clock: JumpyClock, hours: int
) -> None:
    page = await new_page()
    before = to_millis(SYSTEM_CLOCK.now())
    await page.say({"type": "auth", "token": token})
    message = await page.hear()
    assert before <= message["server_ms"] <= to_millis(SYSTEM_CLOCK.now())
    clock.set_by = timedelta(hours=hours)
    await push(alice.pk, News.ORDER, {"id": 1})
    stamp = (await page.hear())["server_ms"]
    assert abs(stamp - to_millis(clock.now())) < 60_000


async def test_a_clock_put_forward_past_the_tokens_life_ends_the_socket(
    new_page: Open, alice: User, token: str, clock: JumpyClock
) -> None:
    page = await authenticated(new_page, token)
    clock.set_by = timedelta(days=1)
    assert (await page.hear_of("error"))["error"]["code"] == "TOKEN_EXPIRED"
    assert await page.closed_with() == 4401


async def test_a_clock_put_back_does_not_prolong_the_tokens_life(
    new_page: Open, alice: User, clock: JumpyClock, settings: Any
) -> None:
    settings.ACCESS_TOKEN_LIFETIME = timedelta(seconds=2)
    page = await authenticated(new_page, await database_sync_to_async(access_token)(alice))
    clock.set_by = timedelta(days=-1)
    assert (await page.hear_of("error"))["error"]["code"] == "TOKEN_EXPIRED"
    assert await page.closed_with() == 4401
