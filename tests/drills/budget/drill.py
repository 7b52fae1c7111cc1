"""The drill itself: a Redis, a simulated exchange, three processes of two tenants each, and what they got: see
__main__.py."""

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from desproject import private_redis
from desproject.config import BASE_DIR
from tests.bench.children import Child

NAMES = ("alice", "bob", "charlie", "dora", "emil", "frida")
PROCESSES = 3
CANCEL_SECONDS = 0.1
LEAST_RATIO = 0.8
# Only what is used up is shared out: of what is left over everybody has what they want.
_USED_UP = 0.9
# Each process in turn stands still for so long, so often, where that is asked for.
_STALL_SECONDS, _STALL_EVERY = 0.7, 1.5
_END_SECONDS = 60.0
# The limits that all tenants of the address share.
FOUGHT_OVER = {
    "binance_spot_simulator_weight", "binance_usdm_simulator_weight", "bithumb_simulator_private",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Market:
    """Where a venue's tenants place orders that never meet anybody."""

    symbol: str
    quantity: str
    price: str
    money: Mapping[str, str]


MARKETS = {
    "binance_spot": Market("BTC/USDT", "0.001", "50000", {"USDT": "1000000000"}),
    "binance_usdm": Market("BTC/USDT:USDT", "0.01", "50000", {"USDT": "1000000000"}),
    "upbit": Market("BTC/KRW", "0.001", "50000000", {"KRW": "100000000000000"}),
    "bithumb": Market("BTC/KRW", "0.001", "50000000", {"KRW": "100000000000000"}),
}


def tenants(venues: Collection[str]) -> Iterator[dict[str, Any]]:
    """Each tenant at each venue; the later ones want much more than the first ones."""
    for number, name in enumerate(NAMES):
        for slug in venues:
            market = MARKETS[slug]
            yield {
                "name": name, "venue": slug, "greed": 8 + 4 * number, "process": number % PROCESSES,
                "api_key": f"{name}-{slug}-key-0123456789", "api_secret": f"{name}-{slug}-secret",
                "symbol": market.symbol, "quantity": market.quantity, "price": market.price,
            }  # fmt: skip


def run(
    seconds: float, *, venues: Collection[str] = tuple(MARKETS), without_budget: bool = False, stalls: bool = False
) -> dict[str, Any]:
    """The drill's figures. With ``stalls`` a process stands still now and then, in the middle of whatever it does."""
    everybody = list(tenants(venues))
    with tempfile.TemporaryDirectory(prefix="des-budget-") as folder, _redis(Path(folder)) as url:
        accounts = Path(folder) / "accounts.json"
        accounts.write_text(json.dumps([_account(each) for each in everybody]), encoding="utf-8")
        exchange = Child(
            "manage.py", "simexchange", "--symbols", "BTCUSDT", "--perpetuals", "BTCUSDT", "--won-markets", "KRW-BTC",
            "--speed", "0.01", "--accounts", str(accounts), environment=_environment(),
        )  # fmt: skip
        with exchange:
            environment = {**_environment(), "SIMULATOR_URL": exchange.ready()["rest"], "REDIS_URL": url}
            jobs = [
                {
                    "seconds": seconds, "without_budget": without_budget,
                    "tenants": [each for each in everybody if each["process"] == number],
                }
                for number in range(PROCESSES)
            ]  # fmt: skip
            return _figures(seconds, _work(jobs, environment, seconds, stalls=stalls))


def _work(
    jobs: list[dict[str, Any]], environment: Mapping[str, str], seconds: float, *, stalls: bool
) -> list[dict[str, Any]]:
    processes = [_worker(environment) for _ in jobs]
    try:
        for process, job in zip(processes, jobs, strict=True):
            assert process.stdin is not None
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        if stalls:
            _stall(processes, time.monotonic() + seconds)
        return [json.loads(process.communicate(timeout=seconds + _END_SECONDS)[0]) for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def _stall(processes: "list[subprocess.Popen[str]]", end: float) -> None:
    for process in itertools.cycle(processes):
        time.sleep(_STALL_EVERY - _STALL_SECONDS)
        if time.monotonic() > end:
            return
        process.send_signal(signal.SIGSTOP)
        time.sleep(_STALL_SECONDS)
        process.send_signal(signal.SIGCONT)


def _worker(environment: Mapping[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.drills.budget.worker"], cwd=BASE_DIR, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def _figures(seconds: float, told: list[dict[str, Any]]) -> dict[str, Any]:
    got: dict[str, Counter[str]] = defaultdict(Counter)
    answers, errors, waits, lags = Counter[str](), Counter[str](), list[float](), list[float]()
    rates: dict[str, float] = {}
    for each in told:
        answers.update(each["answers"])
        errors.update(each["errors"])
        waits += each["cancel_waits"]
        lags += each["lags"]
        rates.update(each["rates"])
        for budget, by_tenant in each["got"].items():
            got[budget].update(by_tenant)
    waits.sort()
    lags.sort()
    shares: dict[str, dict[str, Any]] = {
        budget: {
            "got_a_second": round(sum(by_tenant.values()) / seconds, 1),
            "used": round(sum(by_tenant.values()) / seconds / rates[budget], 3),
            "by_tenant": {name: by_tenant.get(name, 0) for name in NAMES},
            "least_to_most": round(min(by_tenant.get(name, 0) for name in NAMES) / max(by_tenant.values()), 3),
        }
        for budget, by_tenant in sorted(got.items())
        if budget in FOUGHT_OVER
    }
    refused = sum(answers[status] for status in ("429", "418"))
    p99 = waits[int(len(waits) * 0.99)] if waits else float("inf")
    fair = min((share["least_to_most"] for share in shares.values() if share["used"] >= _USED_UP), default=0)
    return {
        "seconds": seconds, "answers": answers, "refused_by_exchange": refused, "shares": shares,
        "cancels": len(waits), "cancel_wait_ms": {
            "p50": round(waits[len(waits) // 2] * 1000, 2) if waits else None, "p99": round(p99 * 1000, 2),
            "max": round(waits[-1] * 1000, 2) if waits else None,
        },
        "event_loop_lag_ms": {
            "p50": round(lags[len(lags) // 2] * 1000, 2), "p99": round(lags[int(len(lags) * 0.99)] * 1000, 2),
        },
        "errors": errors, "turns_missed": sum(each["missed"] for each in told),
        "held": refused == 0 and fair >= LEAST_RATIO and p99 < CANCEL_SECONDS,
    }  # fmt: skip


def _account(of: Mapping[str, Any]) -> dict[str, Any]:
    money = MARKETS[of["venue"]].money
    return {
        "api_key": of["api_key"], "api_secret": of["api_secret"], "balances": dict(money), "exchange": of["venue"],
    }  # fmt: skip


def _environment() -> dict[str, str]:
    key = subprocess.run(
        [sys.executable, "manage.py", "generate_master_key"], cwd=BASE_DIR, capture_output=True, text=True, check=True,
        env={**os.environ, "DATABASE_URL": "sqlite:///:memory:", "MASTER_ENCRYPTION_KEY": "0" * 63 + "1"},
    ).stdout.strip()  # fmt: skip
    return {**os.environ, "DATABASE_URL": "sqlite:///:memory:", "MASTER_ENCRYPTION_KEY": key}


@contextmanager
def _redis(folder: Path) -> Iterator[str]:
    if named := os.environ.get("REDIS_URL"):
        yield named
        return
    socket = folder / "redis.sock"
    server = subprocess.Popen(private_redis.command(socket), stdout=subprocess.DEVNULL)
    url = f"unix://{socket}"
    try:
        _wait(url)
        yield url
    finally:
        server.terminate()
        server.wait(10)


def _wait(url: str) -> None:
    client, end = redis.Redis.from_url(url), time.monotonic() + 10
    while True:
        try:
            client.ping()
            client.close()
            return
        except redis.RedisError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
