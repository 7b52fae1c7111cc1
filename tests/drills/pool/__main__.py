"""The pool's soak: many connections used at random by a few tasks, while keys are replaced and connections deleted.

``python -m tests.drills.pool --duration 600``: on SQLite, or on what DATABASE_URL names; the exchange is a simulator in
a process of its own. The last line on standard output is the result as JSON (soak.py says what it holds); exit
code 1 if ever two gateways of one connection were open, if one was another account's or outlived its connection, or if
sockets, tasks or memory grew.
"""

import argparse
import os
import secrets
import subprocess
import sys
from typing import Any

from desproject.config import BASE_DIR
from tests.bench.services import data_folder
from tests.bench.simulator import Simulator
from tests.system.services import own_services


def main(wanted: dict[str, Any]) -> int:
    sys.stderr.write(f"seed {wanted['seed']}\n")
    with data_folder() as environment, own_services() as services:
        os.environ.update(environment)
        for name in ("DATABASE_URL", "REDIS_URL"):
            os.environ.pop(name, None)
        os.environ.update(services)
        subprocess.run([sys.executable, "manage.py", "migrate", "--verbosity", "0"], cwd=BASE_DIR, check=True)
        with Simulator() as simulator:
            soak = [f"--{name}={value}" for name, value in wanted.items()]
            told = [f"--control={simulator.told['control']}", f"--token={simulator.told['control_token']}"]
            command = [sys.executable, "-m", "tests.drills.pool.soak", *soak, *told]
            return subprocess.run(command, cwd=BASE_DIR, check=False).returncode


def _arguments() -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="python -m tests.drills.pool", description=__doc__)
    parser.add_argument("--duration", type=float, default=600, help="seconds, %(default)s by default")
    parser.add_argument("--connections", type=int, default=500, help="%(default)s by default")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of the random choices")
    return vars(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main(_arguments()))
