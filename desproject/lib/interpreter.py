"""How the threads of a process share the interpreter."""

import sys

# Python's 5 ms would be waited for at every turn: a database thread gives the interpreter up for each statement and
# asks for it back from a busy loop, a loop asks for it back from each thread that works for a request.
_TURN_SECONDS = 0.0005


def take_short_turns() -> None:
    """From now on a thread that wants the interpreter gets it soon: for processes in which a loop must stay quick."""
    sys.setswitchinterval(_TURN_SECONDS)
