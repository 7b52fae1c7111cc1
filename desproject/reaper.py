"""A tiny process that outlives a killed supervisor, and ends what it left behind.

Run as a script with the supervisor's pipe as its standard input: a line ``+<group>`` names a process group to watch
over, ``-<group>`` takes it off. At the end of the input, however the supervisor ended, every group still listed is
killed. Groups, because the workers of a django-q cluster live on when only its parent dies.
"""

import os
import signal
import sys


def main() -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    main()
