"""The engine's side of an outside strategy: its process, asked one question at a time, each with a time limit."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any

import msgspec

from trading.outside.messages import (
    HEAD,
    MAX_ANSWER,
    Acted,
    Answer,
    Failed,
    Load,
    Loaded,
    Question,
    decode_answer,
    framed,
    question_of,
)
from trading.strategies.contract import BarWindow

_ROOT = Path(__file__).parents[2]
# Starting Python and reading the file takes longer than an evaluation may.
_START_SECONDS = 20.0


class OutsideFailed(Exception):
    """The strategy raised, hung, ate its memory, died, or said nonsense. ``stack`` is its own, where it told one."""

    def __init__(self, reason: str, stack: str = "") -> None:
        super().__init__(reason)
        self.stack = stack


class OutsideProcess:
    """One instance's process. After an OutsideFailed there is nothing left to do but ``end``."""

    def __init__(self, process: Process, seconds: float) -> None:
        self._process = process
        self._seconds = seconds

    @classmethod
    async def start(
        cls, path: str, params: dict[str, Any], *, memory_mib: int, seconds: float
    ) -> "OutsideProcess":
        """Starts it and loads the file. ``seconds`` is the limit of an evaluation. Raises OutsideFailed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "trading.outside.worker", str(memory_mib), str(os.getpid()),
            stdin=PIPE, stdout=PIPE, stderr=DEVNULL, cwd=_ROOT, env=_environment(),
        )  # fmt: skip
        started = cls(process, seconds)
        try:
            answer = await started._ask(Load(path, params), _START_SECONDS)
            if not isinstance(answer, Loaded):
                raise OutsideFailed("answered out of turn")
        except BaseException:
            await started.end()
            raise
        return started

    async def evaluate(self, window: BarWindow, price: float | None) -> Acted:
        """Raises OutsideFailed."""
        answer = await self._ask(question_of(window, price), self._seconds)
        if not isinstance(answer, Acted):
            raise OutsideFailed("answered out of turn")
        return answer

    async def end(self) -> None:
        """Kills it, whatever it is doing."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def _ask(self, question: Question, seconds: float) -> Answer:
        try:
            async with asyncio.timeout(seconds):
                answer = await self._exchange(question)
        except TimeoutError:
            raise OutsideFailed(f"took longer than {seconds:g} s") from None
        except (OSError, asyncio.IncompleteReadError):
            raise OutsideFailed("its process ended: out of memory, or by itself") from None
        except msgspec.MsgspecError as error:
            raise OutsideFailed(f"said nonsense: {error}") from None
        if isinstance(answer, Failed):
            raise OutsideFailed(answer.reason, answer.stack)
        return answer

    async def _exchange(self, question: Question) -> Answer:
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018  # both are pipes
        self._process.stdin.write(framed(question))
        await self._process.stdin.drain()
        length = int.from_bytes(await self._process.stdout.readexactly(HEAD), "big")
        if length > MAX_ANSWER:
            raise OutsideFailed(f"said nonsense: an answer of {length} bytes")
        return decode_answer(await self._process.stdout.readexactly(length))


def _environment() -> dict[str, str]:
    """No secret of the engine's: master keys are in its environment."""
    quiet = {"PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return {"PATH": os.environ.get("PATH", ""), **quiet}
