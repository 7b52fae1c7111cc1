"""Heads of the chain of seals, kept outside the database: a chain whose newest links were cut off ends below them.

Each is a line of JSON in ``audit-heads.jsonl`` in the data folder, and an ``audit_head`` line in the log, which other
machines may collect.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
from django.conf import settings

from audit.models import AuditSeal
from desproject.lib.clock import SYSTEM_CLOCK, Clock

log = structlog.get_logger(__name__)


class HeadUnreadable(ValueError):
    """A line of the file isn't one that DES wrote."""


@dataclass(frozen=True, slots=True)
class Head:
    """The link that the chain had at a number."""

    number: int
    link: str


def heads_file() -> Path:
    """Where this installation keeps its heads."""
    return Path(settings.DATA_DIR) / "audit-heads.jsonl"


def export(clock: Clock = SYSTEM_CLOCK) -> None:
    """Adds the chain's newest link to the file and the log."""
    last = AuditSeal.objects.order_by("-number").first()
    if last is None:
        return
    line = json.dumps({"number": last.number, "link": last.link, "at": clock.now().isoformat()})
    with heads_file().open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    log.info("audit_head", number=last.number, link=last.link)


def read(path: Path) -> Iterator[Head]:
    """The heads of a file, oldest first; none where there is no file. Raises HeadUnreadable."""
    if not path.exists():
        return
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            content = json.loads(line)
            yield Head(int(content["number"]), str(content["link"]))
        except (ValueError, KeyError, TypeError):
            raise HeadUnreadable(f"{path}, line {number}") from None
