"""Sessions and devices that can't come back don't stay in the database."""

from datetime import timedelta
from uuid import uuid4

from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client as Browser

from accounts import browser_sessions, tasks
from accounts.models import Device, User
from desproject.lib.clock import SYSTEM_CLOCK, ManualClock
from tests.conftest import PASSWORD

DAY = timedelta(days=1)
NOW = SYSTEM_CLOCK.now()


def session(key: str, age: timedelta) -> None:
    Session.objects.create(session_key=key, session_data="", expire_date=NOW - age)


def device(user: User, name: str, unused: timedelta) -> None:
    Device.objects.create(user=user, name=name, refresh_jti=uuid4(), last_used_at=NOW - unused)


def test_expired_sessions_go_and_living_ones_stay(db: None) -> None:
    session("expired", DAY)
    session("living", -DAY)
    assert tasks.forget_ended_sessions() == 1
    assert list(Session.objects.values_list("session_key", flat=True)) == ["living"]


def test_devices_go_when_nothing_of_theirs_can_be_alive(alice: User) -> None:
    device(alice, "gone", settings.REFRESH_TOKEN_LIFETIME + 2 * DAY)
    device(alice, "resting", settings.REFRESH_TOKEN_LIFETIME - DAY)
    assert tasks.forget_ended_sessions() == 1
    assert list(alice.devices.values_list("name", flat=True)) == ["resting"]


def test_more_than_one_batch_goes_at_once(alice: User) -> None:
    Session.objects.bulk_create(
        Session(session_key=f"old {number}", session_data="", expire_date=NOW - DAY) for number in range(401)
    )
    assert tasks.forget_ended_sessions() == 401


def test_a_browser_is_logged_in_until_its_session_ends_and_forgotten_after(alice: User) -> None:
    browser = Browser()
    browser.post("/login", {"email": alice.email, "password": PASSWORD})
    last_moment = Session.objects.get().expire_date - timedelta(minutes=1)
    assert browser_sessions.forget_ended(ManualClock(last_moment)) == 0
    assert browser_sessions.forget_ended(ManualClock(last_moment + 2 * DAY)) == 2
