"""The process of one instance of an outside strategy: ``python -m trading.outside.worker <MiB> <parent's pid>``.

It reads questions from standard input and answers on standard output. Its memory is limited, it dies with its parent,
and it is given neither the environment nor the files of the engine. What the strategy prints goes nowhere.
"""

import ctypes
import importlib.util
import os
import resource
import signal
import sys
import traceback
from types import ModuleType
from typing import Any, BinaryIO

from trading.outside.messages import (
    HEAD,
    MAX_QUESTION,
    Acted,
    Answer,
    Evaluate,
    Failed,
    Load,
    Loaded,
    decode_question,
    framed,
    window_of,
)
from trading.strategies.contract import HOLD, require_sense

_PR_SET_PDEATHSIG = 1
_STACK = 4000


def main() -> None:
    """Answers until standard input ends."""
    memory_mib, parent = int(sys.argv[1]), int(sys.argv[2])
    _die_with(parent)
    questions, answers = _quiet_streams()
    resource.setrlimit(resource.RLIMIT_AS, (memory_mib * 2**20, memory_mib * 2**20))
    strategy: _Strategy | None = None
    while (payload := _read(questions)) is not None:
        question = decode_question(payload)
        answer: Answer
        try:
            if isinstance(question, Load):
                strategy, answer = _Strategy(question), Loaded()
            elif strategy is not None:
                answer = strategy.evaluate(question)
        except BaseException as error:  # noqa: BLE001  # whatever it does, the engine must hear of it
            answer = Failed(f"{type(error).__name__}: {error}"[:300], traceback.format_exc()[-_STACK:])
        answers.write(framed(answer))
        answers.flush()


class _Strategy:
    """One instance: a batch of its own."""

    def __init__(self, load: Load) -> None:
        kind: Any = load_file(load.path).Strategy
        params = kind.Params.model_validate(load.params)
        self._warmup = int(kind.warmup_bars(params))
        self._batch = kind.batch([params])

    def evaluate(self, question: Evaluate) -> Acted:
        window = window_of(question)
        if len(window) < self._warmup:
            return Acted(HOLD, {})
        evaluation = (
            self._batch.on_bar(window) if question.price is None else self._batch.on_quote(window, question.price)
        )
        require_sense(evaluation, 1)
        action = int(evaluation.actions[0])
        seen = evaluation.seen if action != HOLD else {}
        return Acted(action, {str(name): float(values[0]) for name, values in seen.items()})


def load_file(path: str) -> ModuleType:
    """Imports a file that belongs to no package. Raises whatever it raises."""
    spec = importlib.util.spec_from_file_location(f"des_outside_{os.path.basename(path).removesuffix('.py')}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"no Python file: {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        sys.exit(1)


def _quiet_streams() -> tuple[BinaryIO, BinaryIO]:
    """The engine's pipes under numbers of their own: what the strategy reads and prints isn't the conversation."""
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    return questions, answers


def _read(questions: BinaryIO) -> bytes | None:
    head = questions.read(HEAD)
    length = int.from_bytes(head, "big")
    if len(head) < HEAD or length > MAX_QUESTION:
        return None
    return questions.read(length)


if __name__ == "__main__":
    main()
