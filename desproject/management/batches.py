"""What commands that work in batches share: the option, and the bar."""

import sys
from argparse import ArgumentTypeError

from django.core.management.base import OutputWrapper

from desproject.lib.clock import SYSTEM_CLOCK

_WIDTH = 30


def batch_size(text: str) -> int:
    """For argparse: rows a transaction."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1000:
        raise ArgumentTypeError("must be between 1 and 1000")
    return int(text)


class ProgressBar:
    """A bar on a terminal, else a line a batch."""

    def __init__(self, stdout: OutputWrapper) -> None:
        self._stdout = stdout
        self._started = SYSTEM_CLOCK.monotonic()

    def show(self, done: int, total: int) -> None:
        seconds = SYSTEM_CLOCK.monotonic() - self._started
        told = f"{done}/{total} rows, {done / seconds if seconds else 0:.0f} a second"
        if not sys.stdout.isatty():
            self._stdout.write(told)
            return
        full = _WIDTH * done // max(total, done, 1)
        self._stdout.write(f"\r[{'#' * full}{'.' * (_WIDTH - full)}] {told}   ", ending="")
        self._stdout.flush()

    def end(self) -> None:
        """What is written next begins a line."""
        if sys.stdout.isatty():
            self._stdout.write("")
