"""No credential gets into the logs."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from desproject.lib.log import REMOVED, scrub

SECRET = "pl4nted-s3cret-v4lue"


@pytest.mark.parametrize(
    "name",
    [
        "api_key",
        "api_secret",
        "password",
        "new_password",
        "token",
        "refresh_token",
        "Authorization",
        "X-MBX-SIGNATURE",
        "signature",
        "otp",
        "otp_secret",
        "Cookie",
        "master_key",
        "JWT_SECRET",
        "apiKey",
        "listenKey",
        "X-MBX-APIKEY",
        "private_key",
        "secretKey",
    ],
)
def test_a_named_credential_is_removed_however_deep(name: str) -> None:
    nested = {"outer": [{name: SECRET}, ({name: {"x": SECRET}},)], name: SECRET}
    assert SECRET not in repr(scrub(nested))
    assert scrub({name: SECRET}) == {name: REMOVED}


@pytest.mark.parametrize(
    "text",
    [
        f"GET /api/v3/order?symbol=BTCUSDT&signature={SECRET}&x=1",
        f"signature={SECRET}",
        f"url?listenKey={SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"authorization: bearer {SECRET}",
        f"sealed as ENC[v1]:{SECRET}",
        f"?token={SECRET}",
        f"apiKey={SECRET}",
        f"password={SECRET}",
        f'{{"apiKey": "{SECRET}", "x": 1}}',
        f"{{'api_secret': '{SECRET}'}}",
        f'"password":"{SECRET}"',
        f"X-MBX-APIKEY: {SECRET}",
        f"redis://user:{SECRET}@127.0.0.1:6379/0",
        f"postgres://des:{SECRET}@db/des",
    ],
)
def test_a_credential_inside_a_text_is_removed(text: str) -> None:
    assert SECRET not in scrub(text)
    assert REMOVED in scrub(text)


def test_what_stands_around_a_credential_stays() -> None:
    assert scrub(f"GET /o?symbol=BTCUSDT&signature={SECRET}&x=1") == f"GET /o?symbol=BTCUSDT&signature={REMOVED}&x=1"


@pytest.mark.parametrize(
    "value",
    [
        "order filled",
        {"symbol": "BTC/USDT", "quantity": 1},
        {"api_key_masked": "BIN_***_4f2a"},
        {"key_version": 2},
        5,
        None,
        "see http://host:8000/path@x",
        "token refreshed",
        "signature: ",
        "keys: 3",
        Decimal("1.50"),
        datetime(2026, 1, 1, tzinfo=UTC),
        UUID(int=5),
        ["BTC/USDT:USDT"],
        "wss://stream.example.org:9443/ws?streams=a@b",
    ],
)
def test_what_is_no_credential_stays(value: object) -> None:
    assert scrub(value) == value


def test_an_empty_credential_shows_that_it_is_empty() -> None:
    assert scrub({"api_key": "", "token": None}) == {"api_key": "", "token": None}


_PROGRAM = f"""
import logging, structlog
from desproject.lib.log import configure_logging
configure_logging("INFO", "json", "engine")
log = structlog.get_logger("a.module")
log.info("key_read", connection="c1", api_key="{SECRET}", details={{"token": "{SECRET}"}}, url="/x?signature={SECRET}")
log.debug("not_shown")
log.info("object", error=ValueError("/x?signature={SECRET}"), raw=b"token={SECRET}", many={{"token={SECRET}"}})
logging.getLogger("other").warning("asked %s", "https://x/?token={SECRET}")
logging.getLogger("other").error("args %s", {{"password": "{SECRET}"}})
try:
    raise ValueError("bad url /x?signature={SECRET}")
except ValueError:
    log.exception("failed")
try:
    raise ValueError("bad url /x?signature={SECRET}")
except ValueError:
    logging.getLogger("other").exception("failed")
structlog.contextvars.bind_contextvars(request_id="r1", token="{SECRET}")
log.warning("bound")
"""


@pytest.fixture(scope="module")
def lines() -> list[dict[str, object]]:
    """What a process that logs planted secrets writes."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == ""
    assert SECRET not in done.stderr
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_every_line_is_json_with_time_level_message_and_module(lines: list[dict[str, object]]) -> None:
    assert len(lines) == 7
    assert all({"ts", "level", "msg", "module", "process"} <= set(line) for line in lines)
    assert lines[0]["module"] == "a.module"
    assert [line["level"] for line in lines] == ["info", "info", "warning", "error", "error", "error", "warning"]


def test_fields_stand_beside_the_message_without_secrets(lines: list[dict[str, object]]) -> None:
    first = lines[0]
    assert (first["msg"], first["connection"], first["api_key"]) == ("key_read", "c1", REMOVED)
    assert first["details"] == {"token": REMOVED}


def test_objects_are_written_as_scrubbed_text(lines: list[dict[str, object]]) -> None:
    assert lines[1]["error"] == f"/x?signature={REMOVED}"


def test_traces_are_kept_and_scrubbed(lines: list[dict[str, object]]) -> None:
    for line in lines[4:6]:
        assert "ValueError" in str(line["exception"])
        assert REMOVED in str(line["exception"])


def test_bound_fields_come_along(lines: list[dict[str, object]]) -> None:
    assert (lines[6]["request_id"], lines[6]["token"]) == ("r1", REMOVED)
