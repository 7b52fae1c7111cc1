"""`manage.py simexchange` as a process: the ready line, accounts from a file, a clean end."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

MANAGE = Path(__file__).parents[3] / "manage.py"


@contextmanager
def simexchange(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Any]]:
    """The process and its ready line."""
    command = [sys.executable, str(MANAGE), "simexchange", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ})
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def get(url: str, token: str = "") -> Any:
    request = urllib.request.Request(url, headers={"X-Sim-Control": token})  # noqa: S310 - our own http address
    with urllib.request.urlopen(request, timeout=5) as response:  # noqa: S310
        return json.load(response)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_and_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    accounts = tmp_path / "accounts.json"
    accounts.write_text(json.dumps([{"api_key": "alice-api-key", "api_secret": "s", "balances": {"USDT": "7"}}]))
    with simexchange("--symbols", "btcusdt", "--accounts", str(accounts), "--control-token", "tok") as (process, ready):
        assert ready["ready"] is True
        assert ready["ws_api"] == ready["streams"] + "/ws-api/v3"
        assert get(ready["rest"] + "/api/v3/ticker/price?symbol=BTCUSDT")["symbol"] == "BTCUSDT"
        ledger = get(ready["control"] + "/ledger", "tok")
        assert ledger["accounts"]["alice-api-key"]["balances"]["USDT"]["free"] == "7"
        process.send_signal(number)
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--symbols", "NOPE"), "NOPE"),
        (("--replay", "missing.gz"), "missing.gz"),
        (("--speed", "0"), "--speed"),
        (("--accounts", "missing.json"), "missing.json"),
    ],
)
def test_bad_arguments_are_refused_with_a_reason(arguments: tuple[str, str], reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        call_command("simexchange", *arguments)
