"""What the default cluster does by the clock: kept in step with this table after every migration."""

from typing import Any

from django_q.models import Schedule

# name: function and minutes between two runs
SCHEDULES = {
    "start missing engines": ("trading.engine_count.ensure_engines", 1),
    "thin out old equity points": ("trading.equity.prune", 60),
    "review strategies' performance": ("trading.performance.review", 60),
    "keep the risk register": ("risk.register.follow", 1),
    "remind of old keys": ("connections.tasks.remind_of_old_keys", 24 * 60),
    "forget ended sessions": ("accounts.tasks.forget_ended_sessions", 60),
    "forget old tries to log in": ("accounts.tasks.forget_old_tries", 24 * 60),
}


def install(**_: Any) -> None:
    """Makes the schedules of the table; changes nothing that is right already."""
    for name, (function, minutes) in SCHEDULES.items():
        wanted = {"func": function, "schedule_type": Schedule.MINUTES, "minutes": minutes, "repeats": -1}
        if not Schedule.objects.filter(name=name, **wanted).exists():
            Schedule.objects.update_or_create(name=name, defaults=wanted)
