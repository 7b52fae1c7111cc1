from desproject.demo.figures import percentiles


def test_percentiles_are_values_that_occurred() -> None:
    assert percentiles([float(value) for value in range(1, 201)]) == {"p50": 100.0, "p99": 198.0, "n": 200}


def test_one_value_is_every_percentile() -> None:
    assert percentiles([3.14159]) == {"p50": 3.14, "p99": 3.14, "n": 1}


def test_nothing_measured_is_said_to_be_nothing() -> None:
    assert percentiles([]) == {"p50": None, "p99": None, "n": 0}
