"""Lines of JSON as a table for docs/performance.md.

python -m tests.bench.table FILE
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# SPEC's "Figures", by the beginning of a name; the value's own unit.
_DOCUMENTED = {
    "evaluate_10_": "< 2 ms", "evaluate_20_": "< 2 ms", "tick_to_wire": "< 50 ms (p99)", "orders_a_second": "> 100/s",
    "logins": "> 500/s, < 20 ms", "refreshes": "> 500/s, < 20 ms", "metrics_": "< 1 ms",
    "health_": "< 50 ms (p99, ours)",
    "market_quotes": "> 50,000/s", "market_depth": "> 20,000/s", "frame_to_price": "< 5 ms (p99)",
    "take_over": "< 2 s",
}  # fmt: skip
_HEAD = "| what | database | DES | floor | ratio | documents | n |\n|---|---|---|---|---|---|---|"


def row(told: dict[str, Any]) -> str:
    """A time is told by p50 and p99, a rate by itself, with the times of its calls where they mean something."""
    is_rate = told["unit"] == "1/s"
    keys = ("value",) if is_rate else ("p50", "p99")

    def cell(figures: dict[str, float], unit: str = "") -> str:
        return " / ".join(f"{figures[key]:,.4g}" if key in figures else "-" for key in keys) + unit

    unit = f" {told['unit']}"
    documented = next((text for name, text in _DOCUMENTED.items() if told["name"].startswith(name)), "")
    cells = (
        told["name"], told.get("database", ""), cell(told, unit), cell(told["floor"], unit), cell(told["ratio"]),
        documented, f"{told['n']:,}",
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def head(lines: Sequence[dict[str, Any]]) -> str:
    """Where and when all this was measured, and how busy the machine was."""

    def all_of(key: str) -> str:
        return ", ".join(dict.fromkeys(line[key] for line in lines if key in line))

    dates = sorted(line["date"] for line in lines)
    loads = [line["load"] for line in lines]
    return (
        f"{dates[0]} to {dates[-1].partition(' ')[2]}, commit {all_of('commit')}; {all_of('machine')}, "
        f"{all_of('server')}. Load of the machine, the benchmarks' own included: {min(loads)} to {max(loads)}. "
        "Times are p50 / p99."
    )


def main(path: str) -> None:
    lines = [json.loads(line) for line in Path(path).read_text().splitlines() if line.startswith("{")]
    sys.stdout.write("\n".join([head(lines), "", _HEAD, *map(row, lines)]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
