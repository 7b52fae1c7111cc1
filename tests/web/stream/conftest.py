"""Pages on the stream socket, and a market to tell of."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from accounts.models import User
from connections.events import MarketBatch, encode, feed_stream
from desproject.lib import bus
from tests.web.conftest import access_token
from tests.web.exchange import ALICE_KEY
from tests.web.rows import Owned, make_everything
from tests.web.stream.page import Open, Page


@pytest.fixture
async def new_page(redis_server: str) -> AsyncIterator[Open]:
    pages: list[Page] = []

    async def open_page() -> Page:
        page = Page()
        pages.append(page)
        assert await page.open()
        return page

    yield open_page
    for page in pages:
        await page.close()


@pytest.fixture
def alices(alice: User) -> Owned:
    return make_everything(alice, ALICE_KEY)


@pytest.fixture
def token(alice: User) -> str:
    return access_token(alice)


@pytest.fixture
async def market(redis_server: str) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """Tells trades of alice's feed, as the stream process does."""
    client, sequence = bus.connect(), itertools.count(1)

    async def tell(*events: Any) -> None:
        payload = encode(MarketBatch(1, next(sequence), events))
        await bus.append(client, feed_stream("binance_spot:simulator"), payload, keep=1000)

    yield tell
    await client.aclose()
