"""What users and operators keep secret appears nowhere in plain: not in logs, answers, tasks, Redis or the database."""

import base64
import contextlib
import json
import secrets
import string
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import redis
from psycopg import sql

from desproject.demo.exchange import Exchange
from desproject.lib.clock import SYSTEM_CLOCK
from desproject.lib.crypto import new_master_key
from tests import behind_the_wall
from tests.accounts.second_factor import app_code
from tests.system.installation import QUICK, Installation

StartTrading = Callable[..., Installation]
# Given once, in the answer to who asked for them, and nowhere else.
_HANDED_OUT = ("token", "refresh", "secret", "otpauth_uri", "qr_svg", "recovery_codes")
_ALPHABET = string.ascii_letters + string.digits


def _made_up(length: int = 64) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _operators_secrets() -> dict[str, str]:
    """Variables of the environment, by name."""
    made_up = {name: _made_up() for name in ("JWT_SECRET", "SECRET_KEY")}
    return {"MASTER_ENCRYPTION_KEY": new_master_key(), "MASTER_ENCRYPTION_KEY_V2": new_master_key(), **made_up}


class _Charlie:
    """A third user, whose every secret we know. Keeps all that the API answered, but what it handed out."""

    def __init__(self, installation: Installation, session: aiohttp.ClientSession) -> None:
        self.key, self.secret, self.wrong_secret = _made_up(), _made_up(), _made_up()
        self.password = f"planted {_made_up(20)}"
        self.answers: list[str] = []
        self.handed_out: dict[str, str] = {}
        self._url = installation.note["url"]
        self._session = session
        self._token = ""

    @property
    def secrets(self) -> dict[str, str]:
        chosen = {"key": self.key, "secret": self.secret, "wrong secret": self.wrong_secret, "password": self.password}
        return chosen | self.handed_out

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        async with self._session.request(method, f"{self._url}{path}", json=body, headers=headers) as answer:
            told: dict[str, Any] = json.loads(await answer.text())
        self.answers.append(json.dumps({name: value for name, value in told.items() if name not in _HANDED_OUT}))
        for name in told.keys() & {"token", "refresh", "secret"}:
            self.handed_out[f"{name} {len(self.answers)}"] = told[name]
        for code in told.get("recovery_codes", ()):
            self.handed_out[f"recovery code {code[:4]}"] = code
        return told

    async def guard(self) -> None:
        """Switches the second factor on, logs in with a recovery code, refreshes, and tries a spent refresh token."""
        enrolment = await self.call("POST", "/api/otp/enrol")
        code = app_code(enrolment["secret"], SYSTEM_CLOCK.now())
        codes = (await self.call("POST", "/api/otp/confirm", {"otp": code}))["recovery_codes"]
        credentials = {"email": "charlie@example.org", "password": self.password, "otp": codes[0]}
        session = await self.call("POST", "/api/login", credentials)
        await self.call("POST", "/api/login", credentials)
        for _ in range(2):
            await self.call("POST", "/api/token/refresh", {"refresh": session["refresh"]})

    async def trade(self, installation: Installation) -> None:
        credentials = {"email": "charlie@example.org", "password": self.password}
        self._token = (await self.call("POST", "/api/register", credentials))["token"]
        await self.call("POST", "/api/login", {**credentials, "password": self.wrong_secret})
        await self._open_account(installation)
        wanted = {"name": "mine", "exchange": "binance_spot", "mode": "simulator", "api_key": self.key}
        await self.call("POST", "/api/connections", {**wanted, "api_secret": self.wrong_secret})
        connection = (await self.call("POST", "/api/connections", {**wanted, "api_secret": self.secret}))["id"]
        await self.call("POST", "/api/connections", {**wanted, "api_secret": self.secret, "exchange": "nowhere"})
        await self.call("POST", f"/api/connections/{connection}/test")
        await self.call("GET", "/api/connections")
        instance = await self.call(
            "POST",
            "/api/strategy-instances",
            {
                "name": "quick", "strategy": "rsi", "connection": connection, "symbol": "BTC/USDT", "timeframe": "1s",
                "params": {"period": 2, "oversold": 45, "overbought": 55},
                "sizing": {"type": "quote_amount", "amount": "100"},
            },
        )  # fmt: skip
        await self.call("POST", f"/api/strategy-instances/{instance['id']}/start")

    async def _open_account(self, installation: Installation) -> None:
        told = installation.note["exchange"]
        ready = {"rest": told["url"], "control": told["control"], "control_token": told["token"]}
        account = {"api_key": self.key, "api_secret": self.secret, "balances": {"USDT": "10000"}}
        await Exchange(ready, self._session).control("POST", "accounts", account)


def _redis_contents(url: str) -> Iterator[bytes]:
    """Every key and value of the database, whatever its type."""
    client: Any = redis.Redis.from_url(url)
    readers: dict[bytes, Callable[[bytes], Any]] = {
        b"string": client.get, b"hash": client.hgetall, b"stream": client.xrange, b"set": client.smembers,
        b"list": lambda key: client.lrange(key, 0, -1), b"zset": lambda key: client.zrange(key, 0, -1),
    }  # fmt: skip
    for key in client.scan_iter(count=1000):
        yield key
        # A key may be gone, or have become another kind, since it was listed.
        with contextlib.suppress(redis.ResponseError, KeyError):
            yield repr(readers[client.type(key)](key)).encode()
    client.close()


def _postgresql_contents(url: str) -> Iterator[bytes]:
    """Every row of every table, as text."""
    with behind_the_wall.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            statement = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))
            with connection.cursor().copy(statement) as copy:
                yield b"".join(bytes(chunk) for chunk in copy)


def _files(folder: Path) -> Iterator[bytes]:
    """Every file of the installation: logs, notes, and the embedded database with its journal."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.read_bytes()


def _forms(secret: str) -> list[bytes]:
    return [secret.encode(), base64.b64encode(secret.encode()).rstrip(b"="), secret.encode().hex().encode()]


async def test_planted_secrets_appear_nowhere(start_trading: StartTrading, tmp_path: Path) -> None:
    operators = _operators_secrets()
    installation = start_trading(environment={**QUICK, **operators})
    redis_url = installation.services.get("REDIS_URL", f"unix://{installation.folder}/redis/redis.sock")
    seen: list[bytes] = []
    async with aiohttp.ClientSession() as session:
        charlie = _Charlie(installation, session)
        await charlie.trade(installation)
        await charlie.guard()
    for more in range(5):
        seen += _redis_contents(redis_url)
        installation.wait_for_trades(1 + more)
    assert installation.count("SELECT count(DISTINCT user_id) FROM trades") == 3
    seen += [answer.encode() for answer in charlie.answers]
    ended = installation.stop()
    seen += [ended.stderr.encode(), *_files(tmp_path)]
    if url := installation.services.get("DATABASE_URL"):
        seen += _postgresql_contents(url)
    everything = b"\n".join(seen)
    # The search does find what is there: the address in the database, the key's last characters in an answer.
    assert b"charlie@example.org" in everything
    assert f"{charlie.key[-4:]}".encode() in b"\n".join(answer.encode() for answer in charlie.answers)
    planted = charlie.secrets | operators
    # Both versions are there in raw bytes too: 32 of them, base64 in the environment.
    planted |= {f"{name} in hex": base64.b64decode(key).hex() for name, key in operators.items() if "MASTER" in name}
    assert len(planted) > 20
    found = {name for name, secret in planted.items() for form in _forms(secret) if form in everything}
    assert found == set()


def test_the_search_would_find_them(tmp_path: Path) -> None:
    secret = _made_up()
    (tmp_path / "a.log").write_text(f"key={secret}")
    (tmp_path / "b.log").write_text(f"key={base64.b64encode(secret.encode()).decode()}")
    assert sum(form in contents for contents in _files(tmp_path) for form in _forms(secret)) == 2


@pytest.mark.parametrize("kind", ["string", "list", "hash", "stream", "set", "zset"])
def test_the_search_reads_every_kind_of_key(redis_server: str, kind: str) -> None:
    client = redis.Redis.from_url(redis_server)
    client.delete("k")
    writers: dict[str, Callable[[], Any]] = {
        "string": lambda: client.set("k", "planted"), "list": lambda: client.rpush("k", "planted"),
        "hash": lambda: client.hset("k", "f", "planted"), "stream": lambda: client.xadd("k", {"f": "planted"}),
        "set": lambda: client.sadd("k", "planted"), "zset": lambda: client.zadd("k", {"planted": 1}),
    }  # fmt: skip
    writers[kind]()
    assert b"planted" in b"".join(_redis_contents(redis_server))
    client.delete("k")
    client.close()
