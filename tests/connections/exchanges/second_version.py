"""A simulated Binance spot that speaks a second version beside its own: other paths, and other names in its answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from django.conf import settings

from connections.exchanges import binance_spot
from connections.simulator.binance.rest import Incoming
from connections.simulator.server import SimulatorServer

FOLDER = Path(binance_spot.__file__).parent
SHIPPED = (FOLDER / "api.toml").read_text(encoding="utf-8")
_PATHS = {"/v4/orders": "/api/v3/order", "/v4/wallet": "/api/v3/account", "/v4/stream": "/stream"}
# A field's name in the first version → in the second.
NAMES = {"executedQty": "filledQty", "balances": "wallet"}


def mapping(names: dict[str, str] | None = None, version: str = "v4") -> str:
    """The second version's api.toml."""
    names = names or NAMES
    text = SHIPPED.replace('version = "v3"', f'version = "{version}"')
    text = text.replace('"/api/v3/order"', '"/v4/orders"').replace('"/api/v3/account"', '"/v4/wallet"')
    text = text.replace('stream = "/stream"', 'stream = "/v4/stream"').replace("executedQty", names["executedQty"])
    return text.replace("[fields.account]\n", f'[fields.account]\nbalances = "{names["balances"]}"\n')


@contextmanager
def operators_folder(root: Path) -> Iterator[Path]:
    """The operator's folder of Binance spot, with the second version in it, which nobody uses yet."""
    versions = binance_spot.VENUE.versions
    folder = root / "binance_spot"
    folder.mkdir()
    (folder / "v4.toml").write_text(mapping())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings.CONFIG, "exchange_api_dir", str(root))
        versions.look()
        yield folder
    versions.look()


class SecondVersion:
    """More paths of the simulator's Binance spot: `Settings(venues=(SecondVersion,))`."""

    name = "second_version"

    def __init__(self, server: SimulatorServer) -> None:
        self.exchange = server.exchange
        self.faults = server.spot.faults
        self.requests = server.spot.requests
        self.order_requests = 0
        self.names = dict(NAMES)
        self._spot = server.spot

    def serves(self, path: str) -> bool:
        return path in _PATHS

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        incoming = await Incoming.read(request)
        self.requests[f"{incoming.method} {incoming.path}"] += 1
        incoming = replace(incoming, path=_PATHS[incoming.path])
        if incoming.path == "/stream":
            return await self._spot._serve_market_socket(request, incoming)
        answer = self._spot._rest.answer(incoming)
        assert isinstance(answer.body, bytes)
        for first, second in self.names.items():
            answer.body = answer.body.replace(f'"{first}"'.encode(), f'"{second}"'.encode())
        return answer

    async def run(self) -> None:
        """Has no rhythm of its own."""
