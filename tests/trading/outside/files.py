"""Strategies as an operator would write them, well and badly behaved."""

from pathlib import Path

WHOLE = '''
"""A strategy from outside, for tests."""
import os, sys, time
import numpy as np
from pydantic import Field
from trading.strategies.contract import Evaluation, Params

class OutsideParams(Params):
    behave: str = Field(default="well", description="What it does when it is asked.")

class Batch:
    wants_quotes = False
    def __init__(self, params):
        self.how = params[0].behave
    def on_bar(self, bars):
        {body}
    def on_quote(self, bars, price):
        return self.on_bar(bars)

class Strategy:
    slug, title, summary = "{slug}", "Outside", "Enters on every bar."
    Params = OutsideParams
    @staticmethod
    def warmup_bars(params):
        return 2
    @staticmethod
    def batch(params):
        return Batch(params)
'''
BODY = '''
        if self.how == "raise":
            raise ValueError("a fault of its own")
        if self.how == "hang":
            while True:
                pass
        if self.how == "eat":
            self.kept = [np.ones(1_000_000) for _ in range(10_000)]
        if self.how == "leave":
            os._exit(3)
        if self.how == "talk":
            os.write(1, b"x" * 100_000)
            print("and more")
        if self.how == "none":
            return None
        if self.how == "many":
            return Evaluation(np.ones(7, dtype=np.int8))
        if self.how == "unknown":
            return Evaluation(np.array([5], dtype=np.int8))
        if self.how == "nan":
            return Evaluation(np.array([1], dtype=np.int8), {"value": np.array([np.nan])})
        if self.how == "environment":
            return Evaluation(np.array([1], dtype=np.int8), {name: np.array([1.0]) for name in os.environ})
        return Evaluation(np.array([1], dtype=np.int8), {"close": bars.close[-1:]})
'''


def write(folder: Path, slug: str = "outside") -> Path:
    """A file whose strategy behaves as its parameter says."""
    path = folder / f"{slug}.py"
    path.write_text(WHOLE.replace("{body}", BODY.strip()).replace("{slug}", slug))
    return path
