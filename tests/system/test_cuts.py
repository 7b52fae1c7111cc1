"""Sockets of all four venues are cut while orders fill: the drill, in short."""

import json
import subprocess
import sys

import pytest

from desproject.config import BASE_DIR
from tests.system.postgresql import Cluster


@pytest.mark.database("postgresql", reason="SQLite has no server to cut")
@pytest.mark.skipif(not Cluster.is_possible(), reason="no PostgreSQL server is installed here to make one's own of")
def test_every_feed_and_account_is_back_after_a_cut_and_no_fill_is_lost() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.drills.cuts", "--cuts", "15", "--tenants", "4", "--seed", "7"],
        cwd=BASE_DIR, capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["by_kind"]["market"] >= 5
    assert told["by_kind"]["user"] >= 4
    assert len(told["by_venue"]) == 8
    assert (told["back_within_30_s"], told["differences"]) == (1, {})
    assert told["trades"] > 0
