"""The harness tells what it measured in lines that can be read."""

import json
import os
import subprocess
import sys

import pytest

from desproject.config import BASE_DIR
from tests.bench import names, table
from tests.bench.measure import Result, rate, times


def test_a_benchmark_prints_lines_with_floor_and_ratio() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("REDIS_URL", "DATABASE_URL")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "evaluation_10", "--seconds", "0.1"],
        cwd=BASE_DIR, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (line,) = (json.loads(each) for each in done.stdout.splitlines())
    assert line["name"] == "evaluate_10_strategies"
    assert line["n"] > 0
    assert 0 < line["p50"] <= line["p99"]
    assert line["ratio"]["p50"] == pytest.approx(line["p50"] / line["floor"]["p50"], rel=0.01)


def test_a_time_is_told_by_its_percentiles_and_a_rate_by_itself() -> None:
    told = json.loads(Result("x", "ms", times(range(1, 102)), times([2.0])).line())
    assert (told["value"], told["p50"], told["p99"], told["n"]) == (51, 51, 100, 101)
    assert told["floor"] == {"value": 2, "p50": 2, "p99": 2, "n": 1}
    assert json.loads(Result("x", "1/s", rate(10, [1.0]), rate(40, [1.0])).line())["ratio"]["value"] == 0.25


def test_the_table_names_the_documents_figure_beside_ours() -> None:
    told = json.loads(Result("orders_a_second", "1/s", rate(400, [1.0]), rate(500, [1.0])).line())
    assert table.row(told | {"database": "sqlite"}) == (
        "| orders_a_second | sqlite | 400 1/s | 500 1/s | 0.8 | > 100/s | 1 |"
    )


def test_the_table_says_where_and_when() -> None:
    place = {"commit": "abc", "machine": "2 cores"}
    lines = [
        place | {"date": "2026-11-21 18:00 UTC", "server": "SQLite 3", "load": 0.5},
        place | {"date": "2026-11-21 18:09 UTC", "server": "PostgreSQL 15", "load": 2.5},
    ]
    assert table.head(lines) == (
        "2026-11-21 18:00 UTC to 18:09 UTC, commit abc; 2 cores, SQLite 3, PostgreSQL 15. "
        "Load of the machine, the benchmarks' own included: 0.5 to 2.5. Times are p50 / p99."
    )


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "nonsense"], cwd=BASE_DIR, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "nonsense" in done.stderr
    assert "nonsense" not in names.ON_A_DATABASE
