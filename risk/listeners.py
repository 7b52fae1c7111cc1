"""Who wants to hear at once that a kill switch was pressed or lifted: apps above this one register when they start."""

from collections.abc import Callable

from risk.models import KillSwitch

Listener = Callable[[KillSwitch], None]

_listeners: list[Listener] = []


def register(listener: Listener) -> None:
    """Adds a listener: called after the commit, in the thread of whoever pressed; it may not raise."""
    if listener not in _listeners:
        _listeners.append(listener)


def tell(switch: KillSwitch) -> None:
    for listener in _listeners:
        listener(switch)
