"""The part of a Venue that follows from its versions: modes, timeframes, and one public object a version and mode."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from connections.exchanges.api_file import ApiFile, modes_of
from connections.exchanges.network import Network
from connections.exchanges.public import VenuePublic
from connections.exchanges.versions import Versions

Api = TypeVar("Api", bound=ApiFile)
Public = TypeVar("Public", bound=VenuePublic)


class VersionedVenue(ABC, Generic[Api, Public]):
    """See connections.exchanges.contract.Venue."""

    slug: str
    title: str

    def __init__(self, versions: Versions[Api]) -> None:
        self.versions = versions

    @property
    def modes(self) -> tuple[str, ...]:
        return modes_of(self.versions.shipped.bases)

    @property
    def timeframes(self) -> Sequence[str]:
        return self.versions.of("").timeframes.all

    def public(self, mode: str, network: Network, connection: str = "") -> Public:
        """The shared object of the version that the mode, or the connection, goes by. The one of a mapping that was
        replaced serves those who have it to the end of what they do."""
        api = self.versions.of(mode, connection)
        made: dict[str, Public] = network.shared((self.slug, mode), _Publics)
        found = made.get(api.version)
        if found is None or found.api is not api:
            found = made[api.version] = self.make_public(api, mode, network)
        return found

    @abstractmethod
    def make_public(self, api: Api, mode: str, network: Network) -> Public:
        """Public data by one version. Raises InvalidInput for a mode that the venue doesn't have."""


class _Publics(dict[str, Public]):
    """A network's public objects of one venue and mode, by version."""

    async def aclose(self) -> None:
        for public in self.values():
            await public.aclose()
