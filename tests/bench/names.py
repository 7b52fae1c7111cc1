"""The benchmarks that exist, by name."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The module whose ``run`` is called, with what, and for which share of the seconds wanted: what makes thousands of
    calls a second needs fewer of them than what waits for a clock."""

    module: str
    arguments: dict[str, Any] = field(default_factory=dict)
    share: float = 1.0


# Each once on every database.
ON_A_DATABASE = {
    "tick_to_order_1_at_10": Benchmark("tick_to_order", {"instances": 1, "rate": 10}),
    "tick_to_order_100_at_20": Benchmark("tick_to_order", {"instances": 100, "rate": 20}),
    "tick_to_order_1000_at_20": Benchmark("tick_to_order", {"instances": 1000, "rate": 20}),
    "tick_to_order_1000_at_100": Benchmark("tick_to_order", {"instances": 1000, "rate": 100}),
    "order_rate": Benchmark("order_rate", share=1.2),
    "take_over": Benchmark("take_over"),
    "api_reads_by_1": Benchmark("api_reads", {"clients": 1}, share=0.4),
    "api_reads_by_8": Benchmark("api_reads", {"clients": 8}, share=0.4),
    "metrics_handler": Benchmark("metrics_handler", share=0.3),
    "sessions": Benchmark("sessions", share=0.6),
    "health_under_logins": Benchmark("health_under_logins"),
    "login_times": Benchmark("login_times", share=2),
    "batch_writer": Benchmark("batch_writer", share=0.3),
    "audit_log": Benchmark("audit_log", share=0.5),
}
# Those that no database has a part in.
WITHOUT = {
    "market_data": Benchmark("market_data", share=0.3),
    "frame_to_price": Benchmark("frame_to_price"),
    "many_symbols": Benchmark("many_symbols", {"symbols": 1000}, share=0.3),
    "evaluation_10": Benchmark("evaluation", {"instances": 10}, share=0.3),
    "evaluation_20": Benchmark("evaluation", {"instances": 20}, share=0.3),
    "evaluation_1000": Benchmark("evaluation", {"instances": 1000}, share=0.3),
    "evaluation_10000": Benchmark("evaluation", {"instances": 10_000}, share=0.3),
}
