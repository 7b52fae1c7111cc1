"""What an engine and the process of an outside strategy say to each other: msgpack in frames of bounded length.

A frame is four bytes of length, most significant first, and as many of payload.
"""

from typing import Annotated, Any

import msgspec
import numpy as np

from trading.strategies.contract import BarWindow

HEAD = 4
# How many bars an outside strategy gets to see; how many of them it needs, only its own process asks it.
BARS = 500
# Of an answer; what an engine sends is bounded by the bars that it sends.
MAX_ANSWER = 64 * 1024
MAX_QUESTION = 1024 * 1024


class Load(msgspec.Struct, tag="load"):
    """The first message: which file, with which parameters."""

    path: str
    params: dict[str, Any]


class Evaluate(msgspec.Struct, tag="evaluate"):
    """A bar was finished, or with ``price`` a quote has changed. The arrays are the bars' columns as raw bytes."""

    opened_ms: bytes
    open: bytes
    high: bytes
    low: bytes
    close: bytes
    volume: bytes
    price: float | None = None


class Loaded(msgspec.Struct, tag="loaded"):
    pass


class Acted(msgspec.Struct, tag="acted"):
    """HOLD, ENTER or EXIT, and what was seen."""

    action: Annotated[int, msgspec.Meta(ge=-1, le=1)]
    seen: Annotated[dict[Annotated[str, msgspec.Meta(max_length=40)], float], msgspec.Meta(max_length=50)]


class Failed(msgspec.Struct, tag="failed"):
    """The strategy raised, or answered nonsense."""

    reason: str
    stack: str


Question = Load | Evaluate
Answer = Loaded | Acted | Failed

_encode = msgspec.msgpack.Encoder().encode
decode_question = msgspec.msgpack.Decoder(Question).decode
_answers: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def framed(message: Question | Answer) -> bytes:
    payload = _encode(message)
    return len(payload).to_bytes(HEAD, "big") + payload


def decode_answer(payload: bytes) -> Answer:
    """Raises msgspec.MsgspecError for what isn't one."""
    return _answers.decode(payload)


def question_of(window: BarWindow, price: float | None) -> Evaluate:
    columns = {name: getattr(window, name)[-BARS:].tobytes() for name in BarWindow.__slots__}
    return Evaluate(**columns, price=price)


def window_of(question: Evaluate) -> BarWindow:
    prices = (question.open, question.high, question.low, question.close, question.volume)
    return BarWindow(np.frombuffer(question.opened_ms, np.int64), *(np.frombuffer(each) for each in prices))
