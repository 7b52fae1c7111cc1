"""The risk disclosure (ACC-9): a versioned text that a user accepts before anything of theirs trades live.

A new text is a new file beside the others in ``accounts/disclosures``; the highest number is the current version.
What runs when a new version comes goes on; nothing is started and no order placed until it is accepted too.
"""

from functools import cache
from pathlib import Path

from django.db import transaction

from accounts.caller import Caller
from accounts.journal import record_act
from accounts.models import DisclosureAcceptance, User
from desproject.lib.clock import SYSTEM_CLOCK, Clock
from desproject.lib.errors import Conflict, DomainError

_TEXTS = Path(__file__).parent / "disclosures"


class DisclosureRequired(DomainError):
    """Live trading waits until the user has accepted the current risk disclosure."""

    code = "DISCLOSURE_REQUIRED"
    status = 403


class DisclosureOutdated(Conflict):
    """Another version than the current one was accepted."""

    code = "DISCLOSURE_OUTDATED"


@cache
def current_version() -> str:
    """The number of the text that counts now."""
    return str(max(int(path.stem) for path in _TEXTS.glob("*.md")))


def current_text() -> str:
    """The text that counts now."""
    return (_TEXTS / f"{current_version()}.md").read_text()


def accept(*, user: User, version: str | None, caller: Caller, clock: Clock = SYSTEM_CLOCK) -> DisclosureAcceptance:
    """Keeps that the user accepted, when and from where; a second time changes nothing. Raises DisclosureOutdated."""
    if version not in {None, current_version()}:
        raise DisclosureOutdated(f"the current version is {current_version()}")
    with transaction.atomic():
        row, made = DisclosureAcceptance.objects.get_or_create(
            user=user, version=current_version(),
            defaults={"accepted_at": clock.now(), "ip": caller.ip, "user_agent": caller.user_agent},
        )
        if made:
            record_act("disclosure.accepted", user.pk, caller, version=row.version)
    return row  # type: ignore[no-any-return]


def acceptance(user: User) -> DisclosureAcceptance | None:
    """The user's acceptance of the current version."""
    rows = DisclosureAcceptance.objects.filter(user=user, version=current_version())
    return rows.first()  # type: ignore[no-any-return]


def require_accepted(user: User) -> None:
    """Raises DisclosureRequired."""
    if acceptance(user) is None:
        raise DisclosureRequired(
            "accept the risk disclosure before trading live (GET /api/disclosure, POST /api/disclosure/accept)"
        )
