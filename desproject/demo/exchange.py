"""The simulated exchange as a process, and its control API as a client."""

import asyncio
import json
import secrets
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import aiohttp

from desproject.config import BASE_DIR
from desproject.processes import Reaper

_TOKEN_HEADER = "X-Sim-Control"  # noqa: S105  # a header's name
_START_SECONDS = 60.0


class ExchangeFailed(Exception):
    """The simulated exchange didn't start, ended by itself, or refused a request; the text says why."""


@dataclass(frozen=True, slots=True)
class ExchangeAccount:
    """An account there: its API key and secret."""

    key: str
    secret: str

    def __repr__(self) -> str:
        return f"<ExchangeAccount …{self.key[-4:]}>"


class Exchange:
    """A running simulator, as seen from outside."""

    def __init__(self, ready: Mapping[str, Any], session: aiohttp.ClientSession) -> None:
        self.url: str = ready["rest"]
        self.control_url: str = ready["control"]
        self.control_token: str = ready["control_token"]
        self._session = session

    async def create_account(self, balances: Mapping[str, str]) -> ExchangeAccount:
        """A new account with money in it; amounts are decimals as text."""
        account = ExchangeAccount(f"demo{secrets.token_hex(30)}", secrets.token_hex(32))
        body = {"api_key": account.key, "api_secret": account.secret, "balances": dict(balances)}
        await self.control("POST", "accounts", body)
        return account

    async def ledger(self) -> dict[str, Any]:
        """Every account's orders, fills, balances, and how often each client order id was received."""
        return await self.control("GET", "ledger")

    async def control(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One call of the control API. Raises ExchangeFailed."""
        headers = {_TOKEN_HEADER: self.control_token}
        try:
            async with self._session.request(
                method, f"{self.control_url}/{path}", json=body, headers=headers
            ) as answer:
                if answer.status != 200:
                    raise ExchangeFailed(f"the simulated exchange answered {answer.status} to {method} {path}")
                told: dict[str, Any] = await answer.json()
                return told
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ExchangeFailed(f"the simulated exchange can't be asked: {error}") from None


@asynccontextmanager
async def simulated_exchange(options: Sequence[str], log: Path) -> AsyncIterator[Exchange]:
    """Runs `manage.py simexchange` with these options until the block ends. Raises ExchangeFailed."""
    reaper = Reaper()
    with log.open("ab") as output:
        process = await _start(options, output)
    reaper.watch(process.pid)
    try:
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            yield Exchange(await _ready(process, log), session)
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        reaper.forget(process.pid)
        reaper.close()


async def _start(options: Sequence[str], output: IO[bytes]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, str(BASE_DIR / "manage.py"), "simexchange", *options, cwd=BASE_DIR, start_new_session=True,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=output,
    )  # fmt: skip


async def _ready(process: asyncio.subprocess.Process, log: Path) -> dict[str, Any]:
    assert process.stdout is not None  # noqa: S101  # we asked for a pipe
    try:
        line = await asyncio.wait_for(process.stdout.readline(), _START_SECONDS)
        told: dict[str, Any] = json.loads(line)
    except (TimeoutError, ValueError):
        raise ExchangeFailed(f"the simulated exchange didn't start: {_last_line(log)}") from None
    return told


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no word of it"
