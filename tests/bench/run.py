"""One benchmark in this process, on the services that the environment names.

python -m tests.bench.run <name> <seconds>
"""

import importlib
import sys

import django

django.setup()

from django.db import connection  # noqa: E402  # settings can be read only now

from tests.bench import names, place  # noqa: E402


def main(name: str, seconds: float) -> None:
    chosen = (names.ON_A_DATABASE | names.WITHOUT)[name]
    about = {"database": connection.vendor} if name in names.ON_A_DATABASE else {}
    module = importlib.import_module(f"tests.bench.{chosen.module}")
    for result in module.run(seconds * chosen.share, **chosen.arguments):
        result.about.update(about | place.told())
        sys.stdout.write(result.line() + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
