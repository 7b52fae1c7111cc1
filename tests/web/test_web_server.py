"""The web process itself: it keeps no body over the limit, and answers forms like everything else that is no JSON."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.web.process import serving
from tests.web.test_error_format import MEGABYTE

pytestmark = pytest.mark.django_db(transaction=True)

JSON = {"Content-Type": "application/json"}
LOG_IN = b'{"email": "alice@example.org", "password": "wrong-wrong", "device_id": "%s"}'


@pytest.fixture
def site(redis_server: str) -> Iterator[str]:
    with serving({}) as url:
        yield url


def chunks(count: int) -> Iterator[bytes]:
    yield b'{"email": "'
    for _ in range(count):
        yield b"x" * MEGABYTE


def test_bodies_and_their_limit(site: str) -> None:
    """One process for all: starting it takes longer than all that is asked."""
    url = f"{site}/api/login"
    for too_much in (LOG_IN % (b"x" * 20 * MEGABYTE), chunks(20)):
        answer = requests.post(url, too_much, headers=JSON, timeout=30)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "BODY_TOO_LARGE")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    whole = LOG_IN % b"here"
    for body in (whole, (whole[at : at + 10] for at in range(0, len(whole), 10))):
        answer = requests.post(url, body, headers=JSON, timeout=30)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "BAD_CREDENTIALS")
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        answer = requests.post(url, b"a=1", headers={"Content-Type": kind}, timeout=30)
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert requests.post(f"{site}/login", chunks(3), timeout=30).status_code in {400, 413, 403}


def test_a_refused_websocket_has_the_headers_of_every_answer(site: str) -> None:
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    for path, origin in (("/ws/other", site), ("/ws/stream", "https://evil.example")):
        answer = requests.get(f"{site}{path}", headers={**upgrade, "Origin": origin}, timeout=30)
        assert answer.status_code == 403
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert (answer.headers["X-Content-Type-Options"], answer.headers["X-Frame-Options"]) == ("nosniff", "DENY")


HEAD = b"POST /api/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
MANY = 100


def test_what_is_too_large_is_not_kept(site: str) -> None:
    """While it comes in it stands in no file, and the process doesn't grow by it."""
    port = int(site.rpartition(":")[2])
    for told in (True, False):
        _send_too_much(port, _process_on(port), told=told)


def _send_too_much(port: int, process: Path, *, told: bool) -> None:
    """With its length told at the beginning, or in chunks."""
    before = _memory(process)
    part = b"x" * MEGABYTE if told else b"%x\r\n%s\r\n" % (MEGABYTE, b"x" * MEGABYTE)
    framing = b"Content-Length: %d\r\n\r\n" % (MANY * MEGABYTE) if told else b"Transfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
        line.sendall(HEAD + framing)
        for _ in range(MANY - 1):
            line.sendall(part)
        assert _memory(process) - before < MANY * MEGABYTE / 2
        assert _in_nameless_files(process) <= 2 * MEGABYTE
        line.sendall(part if told else part + b"0\r\n\r\n")
        assert line.recv(100).startswith(b"HTTP/1.1 413 ")


def _process_on(port: int) -> Path:
    """Of the web process, as the kernel shows it."""
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if f"-p\0{port}\0".encode() in (process / "cmdline").read_bytes():
                return process
    pytest.fail("the web process isn't there")


def _memory(process: Path) -> int:
    """Bytes."""
    (line,) = (line for line in (process / "status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def _in_nameless_files(process: Path) -> int:
    """Bytes in files that only the process still has."""
    return sum(each.stat().st_size for each in (process / "fd").iterdir() if " (deleted)" in str(each.readlink()))
