"""Log-ins a second with 10 at once, and refreshes of tokens a second.

DES: the whole log-in over HTTP, each from an address and a user of its own, so that no limit is met. Floor: a plain
Django view under daphne that checks one password with the same hash parameters (Argon2id costs tens of ms by design);
for refreshes, one that does nothing.
"""

import itertools
from collections.abc import Iterator

import aiohttp

from accounts.models import User
from tests.bench import site
from tests.bench.measure import Result

AT_ONCE = 10
_USERS = 400
_PASSWORD = "correct-horse-battery"


def run(seconds: float) -> Iterator[Result]:
    create_users()
    with site.served() as (des, bare):
        yield Result(
            "logins_a_second", "1/s",
            *site.in_turns((logging_in(des), site.getting(f"{bare}/login")), AT_ONCE, seconds),
            about={"clients": AT_ONCE},
        )  # fmt: skip
        yield Result(
            "refreshes_a_second", "1/s",
            *site.in_turns((_refresh(des), site.getting(f"{bare}/nothing")), AT_ONCE, seconds),
            about={"clients": AT_ONCE},
        )  # fmt: skip


def create_users() -> None:
    """Those who log in; hashing one password is enough."""
    first = User.objects.create_user("user-0@example.org", _PASSWORD)
    User.objects.bulk_create(
        User(email=f"user-{number}@example.org", password=first.password) for number in range(1, _USERS)
    )


def logging_in(url: str) -> site.Call:
    """A call that logs the next user in, from an address of their own."""
    turn = itertools.count()

    async def call(session: aiohttp.ClientSession, _: int) -> None:
        await _log_in(session, url, next(turn))

    return call


async def _log_in(session: aiohttp.ClientSession, url: str, number: int) -> str:
    body = {"email": f"user-{number % _USERS}@example.org", "password": _PASSWORD, "device_id": "bench"}
    headers = {"X-Forwarded-For": f"10.0.{number // 250 % 250}.{number % 250 + 1}"}
    async with session.post(f"{url}/api/login", json=body, headers=headers) as answer:
        answer.raise_for_status()
        refresh: str = (await answer.json())["refresh"]
        return refresh


def _refresh(url: str) -> site.Call:
    newest: dict[int, str] = {}

    async def call(session: aiohttp.ClientSession, number: int) -> None:
        if number not in newest:
            newest[number] = await _log_in(session, url, number)
        async with session.post(f"{url}/api/token/refresh", json={"refresh": newest[number]}) as answer:
            answer.raise_for_status()
            newest[number] = (await answer.json())["refresh"]

    return call
