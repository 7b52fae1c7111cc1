"""A kill switch waits for commits under way, and none comes after it."""

from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event

import pytest
from django.db import connection, connections, transaction

from accounts.models import User
from accounts.tenancy import tenant_scope
from risk import services
from risk.models import KillSwitch

pytestmark = pytest.mark.django_db(transaction=True)


def hold_users_row(user: User, held: Event, release: Event) -> None:
    """As the engine does while it commits an intent."""
    try:
        with transaction.atomic():
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("SELECT id FROM users WHERE id = %s FOR SHARE", [user.pk])
            held.set()
            assert release.wait(20)
    finally:
        connections.close_all()


def press(user: User, level: str) -> KillSwitch:
    try:
        with tenant_scope(user.pk):
            return services.press_kill_switch(user=user, level=level, target_id=user.pk, reason="x", flatten=False)
    finally:
        connections.close_all()


@pytest.mark.parametrize("level", ["user", "system"])
def test_pressing_waits_for_a_commit_under_way(alice: User, redis_server: str, level: str) -> None:
    User.objects.filter(pk=alice.pk).update(is_admin=True)
    alice.refresh_from_db()
    held, release = Event(), Event()
    with ThreadPoolExecutor(2) as threads:
        commit = threads.submit(hold_users_row, alice, held, release)
        assert held.wait(10)
        pressing = threads.submit(press, alice, level)
        assert not wait([pressing], timeout=0.5).done, "the switch was pressed through a commit"
        release.set()
        assert pressing.result(20).lifted_at is None
        commit.result(20)
