"""Audit rows sealed a second, and verified a second.

DES: ``seal_batch``, 200 rows a transaction, on a log that grows meanwhile; and a whole ``verify`` of 10,000 sealed
rows. Floor for sealing: the same rows read, hashed and inserted into a table like the seals' by a plain cursor. For
verifying: rows and seals read by one plain query, and two hashes of each made; neither copies nor unsealed rows are
looked for. A call is a batch, or a pass through the log.
"""

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from itertools import count

from django.db import connection, transaction

from accounts.models import User
from accounts.tenancy import everyone
from audit.models import AuditLog
from audit.record import entry
from audit.sealer import seal_all, seal_batch
from audit.verification import verify
from desproject.lib.clock import SYSTEM_CLOCK
from tests.bench.measure import Figures, Result, rate

_BATCH = 200
_VERIFIED = 10_000
_KEY = b"k" * 32


def run(seconds: float) -> Iterator[Result]:
    user = User.objects.create_user("alice@example.org", None)
    for _ in range(_VERIFIED // _BATCH):
        _write(user)
    seal_all()
    yield Result("audit_rows_verified_a_second", "1/s", *_verifying(_VERIFIED, seconds), about={"rows": _VERIFIED})
    yield Result("audit_rows_sealed_a_second", "1/s", *_sealing(user, seconds), about={"batch": _BATCH})


def _sealing(user: User, seconds: float) -> tuple[Figures, Figures]:
    _make_bare_table()
    numbers = count(1)
    samples: tuple[list[float], list[float]] = ([], [])
    end = time.monotonic() + 2 * seconds
    while time.monotonic() < end:
        _write(user)
        for found, work in zip(samples, (seal_batch, lambda: _seal_bare(numbers)), strict=True):
            found.append(_timed(work, _BATCH))
    return _rate(samples[0], _BATCH), _rate(samples[1], _BATCH)


def _verifying(rows: int, seconds: float) -> tuple[Figures, Figures]:
    samples: tuple[list[float], list[float]] = ([], [])
    end = time.monotonic() + 2 * seconds
    while not samples[0] or time.monotonic() < end:
        samples[0].append(_timed(lambda: rows - len(list(verify())), rows))
        samples[1].append(_timed(_verify_bare, rows))
    return _rate(samples[0], rows), _rate(samples[1], rows)


def _write(user: User) -> None:
    details = {"from": "pending", "filled": "0.0153", "cause": "answer"}
    with everyone():
        AuditLog.objects.bulk_create(
            entry("order.filled", user_id=user.pk, resource_type="order", resource_id=user.pk, details=details)
            for _ in range(_BATCH)
        )


def _timed(work: Callable[[], int], rows: int) -> float:
    """Milliseconds; the work returns how many rows it went through."""
    start = time.perf_counter()
    done = work()
    assert done == rows, (done, rows)
    return (time.perf_counter() - start) * 1e3


def _rate(samples: list[float], rows: int) -> Figures:
    return rate(len(samples) * rows / (sum(samples) / 1e3), samples)


def _make_bare_table() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE bare_seals (number bigint PRIMARY KEY, audit_log_id bigint UNIQUE, code varchar(64), "
            "link varchar(64), sealed_at varchar(40))"
        )


def _hash(*said: object) -> str:
    return hmac.new(_KEY, json.dumps(said).encode(), hashlib.sha256).hexdigest()


def _seal_bare(numbers: Iterator[int]) -> int:
    now = SYSTEM_CLOCK.now().isoformat()
    with everyone(), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT audit_log_id, link FROM bare_seals ORDER BY number DESC LIMIT 1")
        last, link = cursor.fetchone() or (0, "")
        cursor.execute("SELECT id, code FROM audit_logs WHERE id > %s ORDER BY id LIMIT %s", (last, _BATCH))
        seals = []
        for row, code in cursor.fetchall():
            link = _hash(link, row, code)
            seals.append((next(numbers), row, code, link, now))
        cursor.executemany("INSERT INTO bare_seals VALUES (%s, %s, %s, %s, %s)", seals)
    return len(seals)


def _verify_bare() -> int:
    with everyone(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT s.number, s.code, s.link, a.id, a.user_id, a.event_type, a.resource_type, a.resource_id, "
            "a.details, a.created_at, a.code FROM audit_seals s JOIN audit_logs a ON a.id = s.audit_log_id "
            "ORDER BY s.number"
        )
        before, rows = "", 0
        for number, code, link, *said, row_code in cursor:
            assert len(_hash(*map(str, said))) == len(_hash(number, before, code))
            assert code == row_code
            before, rows = link, rows + 1
    return rows
