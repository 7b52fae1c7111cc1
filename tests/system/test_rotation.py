"""The master key is rotated while users trade, killed in the middle and resumed: no row is unreadable for a moment."""

import random

import pytest

from tests.drills.rotation import Drill
from tests.system.installation import Installation


@pytest.mark.database("postgresql", reason="a minute: make rotation-drill does it on SQLite")
def test_a_rotation_killed_three_times_leaves_every_row_readable_all_the_time(installation: Installation) -> None:
    result = Drill(installation, rows=300, kills=3, batch_size=5, seed=random.randrange(10**6)).run()

    assert result.is_good, result.line()
    # It was killed in the middle each time, beside users who traded, and the reader saw both versions at once.
    assert len(result.left_after_kills) == 3
    assert result.reader["mixed_passes"] > 0
    assert result.trades_meanwhile > 0
