"""Schedules of the default cluster."""

import pytest
from django.core.management import call_command
from django_q.models import Schedule

from trading.schedules import SCHEDULES, install

pytestmark = pytest.mark.django_db


def test_migrating_makes_every_schedule_once() -> None:
    Schedule.objects.all().delete()
    call_command("migrate", verbosity=0)
    call_command("migrate", verbosity=0)
    assert sorted(Schedule.objects.values_list("name", flat=True)) == sorted(SCHEDULES)


def test_a_changed_schedule_is_put_right() -> None:
    install()
    Schedule.objects.update(minutes=50)
    install()
    minutes = dict(Schedule.objects.values_list("name", "minutes"))
    assert minutes == {name: minutes for name, (_, minutes) in SCHEDULES.items()}
