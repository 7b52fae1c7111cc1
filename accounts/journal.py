"""What happens to accounts is told to the audit log by this seam.

The audit app sits above this one (see "Layers" in the design), so it hands its recorder in when it starts; without
one nothing can log in, rather than unrecorded.
"""

from typing import Any, Protocol
from uuid import UUID

from accounts.caller import Caller


class Recorder(Protocol):
    """Writes one audit row inside the caller's transaction."""

    def __call__(self, event_type: str, *, user_id: UUID | None, **rest: Any) -> object: ...


class NoRecorder(RuntimeError):
    """Nobody keeps the audit log."""


_recorder: Recorder | None = None


def use(recorder: Recorder) -> None:
    """Makes ``recorder`` the one that keeps the audit log."""
    global _recorder
    _recorder = recorder


def record(event_type: str, *, user_id: UUID | None, **rest: Any) -> None:
    """Tells the audit log, inside the caller's transaction; ``rest`` as ``audit.record.entry`` takes it."""
    if _recorder is None:
        raise NoRecorder("no recorder was given to accounts.journal")
    _recorder(event_type, user_id=user_id, **rest)


def record_act(
    event: str, user_id: UUID | None, caller: Caller, *, device: UUID | None = None, **details: object
) -> None:
    """What a caller did to a user's account, or to one of their devices."""
    record(
        event, user_id=user_id, resource_type="device" if device else "user", resource_id=device or user_id or "",
        details=details, ip=caller.ip, user_agent=caller.user_agent,
    )
