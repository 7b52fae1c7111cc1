"""api.toml, typed."""

import msgspec

from connections.exchanges.api_file import ApiFile, base_of


class Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rest: str
    sockets: str


class Paths(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    markets: str
    book: str
    deals: str
    bars: str
    clock: str
    key: str
    wallet: str
    orders: str
    own_deals: str
    public_socket: str
    private_socket: str


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    page: int
    socket_seconds: int
    messages_a_second: int
    streams_a_socket: int


class TramApi(ApiFile, frozen=True, forbid_unknown_fields=True):
    simulator_prefix: str
    bases: dict[str, Base]
    paths: Paths
    limits: Limits

    def base(self, mode: str) -> Base:
        """The addresses of a mode. Raises InvalidInput."""
        return base_of(self.bases, mode, Base, self.simulator_prefix)
