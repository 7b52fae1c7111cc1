"""How long a log-in takes over HTTP, by what is wrong with it: nothing of that may tell who has an account.

One client asks for each kind once a round, in an order drawn anew, so that every kind meets the same machine; each
try comes from an address and for a user of its own, so that no limit is met. ``p90`` stands beside p50 and p99. Compare
``wrong_password``, ``deleted`` and ``unknown_email`` with each other: the answers are the same. Floor of all: a plain
Django view that checks one password with the same hash parameters.
"""

import asyncio
import random
import time
from collections.abc import Iterator
from datetime import timedelta

import aiohttp
import numpy as np

from accounts.models import LoginTries, User
from desproject.lib.clock import SYSTEM_CLOCK
from tests.bench import site
from tests.bench.measure import Result, times

_USERS = 500
_PASSWORD = "correct-horse-battery"
_WRONG = "not-the-password-of-anybody"
# What is sent, and the status that must come back.
_KINDS = {
    "right_password": (_PASSWORD, 200),
    "second_factor_missing": (_PASSWORD, 401),
    "wrong_password": (_WRONG, 401),
    "deleted": (_PASSWORD, 401),
    "unknown_email": (_WRONG, 401),
    "locked": (_PASSWORD, 429),
    "locked_unknown_email": (_WRONG, 429),
}


def run(seconds: float) -> Iterator[Result]:
    _create_users()
    with site.served() as (des, bare):
        samples = asyncio.run(_rounds(des, bare, seconds))
    floor = times(samples.pop("floor"))
    for kind, found in samples.items():
        p90 = round(float(np.percentile(found, 90)), 2)
        yield Result(f"login_{kind}", "ms", times(found), floor, about={"p90": p90})


def _email(kind: str, number: int) -> str:
    return f"{kind}-{number % _USERS}@example.org"


def _create_users() -> None:
    hashed = User.objects.create_user("first@example.org", _PASSWORD).password
    states = {"second_factor_missing": {"otp_verified": True}, "deleted": {"is_deleted": True, "is_active": False}}
    User.objects.bulk_create(
        User(email=_email(kind, number), password=hashed, **states.get(kind, {}))
        for kind in _KINDS if "unknown" not in kind for number in range(_USERS)
    )  # fmt: skip
    locked = SYSTEM_CLOCK.now() + timedelta(days=1)
    LoginTries.objects.bulk_create(
        LoginTries(subject=f"email:{_email(kind, number)}", failed=5, locked_until=locked, last_failed_at=locked)
        for kind in _KINDS if kind.startswith("locked") for number in range(_USERS)
    )  # fmt: skip


async def _rounds(des: str, bare: str, seconds: float) -> dict[str, list[float]]:
    """Milliseconds of each kind, and of the floor."""
    samples: dict[str, list[float]] = {kind: [] for kind in (*_KINDS, "floor")}
    check, chance = site.getting(f"{bare}/login"), random.Random(1)
    async with aiohttp.ClientSession() as session:
        end, number = time.monotonic() + seconds, 0
        while time.monotonic() < end or number < 2:
            for place, kind in enumerate(chance.sample(list(samples), len(samples))):
                start = time.perf_counter()
                if kind == "floor":
                    await check(session, 0)
                else:
                    await _log_in(session, des, kind, number, number * len(samples) + place)
                samples[kind].append((time.perf_counter() - start) * 1e3)
            number += 1
    # Connections are opened and queries prepared in the first round.
    return {kind: found[1:] for kind, found in samples.items()}


async def _log_in(session: aiohttp.ClientSession, url: str, kind: str, number: int, address: int) -> None:
    password, status = _KINDS[kind]
    body = {"email": _email(kind, number), "password": password, "device_id": "bench"}
    headers = {"X-Forwarded-For": f"10.{address // 62_500}.{address // 250 % 250}.{address % 250 + 1}"}
    async with session.post(f"{url}/api/login", json=body, headers=headers) as answer:
        await answer.read()
        assert answer.status == status, (kind, answer.status)
