"""What is asked of an exchange: before it has its turn, and as it is sent then, freshly stamped and signed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from connections.budget.budget import Budget
from connections.budget.urgency import Urgency
from connections.gateways import GatewayError, OutcomeUnknown, SendDeadline, Unreachable


class Purpose(Enum):
    """What a request is to do: the same refusal means different things, and some may not wait for others."""

    READ = auto()
    PLACE = auto()
    CANCEL = auto()
    # Anything else that changes something: leverage, margin type.
    CHANGE = auto()


def unsure(message: str, purpose: Purpose) -> GatewayError:
    """Nobody knows whether the exchange worked on it. Of a read that doesn't matter: nothing changed."""
    return Unreachable(message) if purpose is Purpose.READ else OutcomeUnknown(message)


URGENCIES = {
    Purpose.READ: Urgency.READ,
    Purpose.PLACE: Urgency.ENTRY,
    Purpose.CANCEL: Urgency.EXIT,
    Purpose.CHANGE: Urgency.ENTRY,
}


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends: the tenant with whom the address is shared, and the limits that the exchange sets the account."""

    tenant: str
    budgets: Mapping[str, Budget] = field(default_factory=dict)

    async def aclose(self) -> None:
        """Ends what waits for the account's limits."""
        for budget in self.budgets.values():
            await budget.aclose()


# Public data are everybody's.
EVERYBODY = Sender("")


@dataclass(frozen=True, slots=True)
class Call:
    """One request to come. ``counted_as`` is the path that its cost stands under, where the path itself varies;
    ``base`` another host than the venue's."""

    method: str
    path: str
    purpose: Purpose = Purpose.READ
    sender: Sender = EVERYBODY
    deadline: SendDeadline | None = None
    counted_as: str = ""
    base: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.method, self.counted_as or self.path


@dataclass(frozen=True, slots=True)
class Signed:
    """The rest of a request. It may hold a signature, so it never shows itself."""

    query: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
