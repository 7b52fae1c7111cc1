"""The budget drill: six tenants on one address ask every exchange for all they can get, and none ever says no.

``python -m tests.drills.budget --duration 300``. Three processes of two tenants each, a Redis (REDIS_URL's, else one of
its own) and a simulated exchange whose limits are the real ones. The tenants are of different greed, and each cancels
four times a second at each exchange. The last line on standard output is the result as JSON; exit code 1 unless the
exchange never answered 429 or 418, each tenant got a fair share of each exchange, and cancels got their turn in time.
"""

import argparse
import sys

from tests.bench.children import say
from tests.drills.budget.drill import MARKETS, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.drills.budget", description=__doc__)
    parser.add_argument("--duration", type=float, default=300.0, help="seconds, %(default)s by default")
    parser.add_argument("--without-budget", action="store_true", help="what happens when nobody counts")
    parser.add_argument("--stalls", action="store_true", help="each process in turn is stopped for 0.7 s")
    parser.add_argument("--venues", nargs="+", default=list(MARKETS), choices=list(MARKETS), help="all by default")
    chosen = parser.parse_args()
    figures = run(
        chosen.duration, venues=chosen.venues, without_budget=chosen.without_budget, stalls=chosen.stalls
    )
    say(figures)
    return 0 if figures["held"] else 1


if __name__ == "__main__":
    sys.exit(main())
