"""User data of many accounts on one socket, from the simulated exchange to each tenant's shard."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest
import redis.asyncio

from accounts.tenancy import shard_of
from connections.events import BalancesTold, OrderTold, StreamTold, user_stream
from connections.exchanges import venue
from connections.exchanges.binance_spot import VENUE
from connections.exchanges.network import Network
from connections.gateways import Credentials
from connections.simulator.binance_spot.user_events import Subscription
from connections.simulator.control import KeySpec
from connections.simulator.faults import SocketKind
from connections.simulator.server import SimulatorServer
from connections.streaming import user_socket as user_module
from connections.streaming.kept_socket import Timing
from connections.streaming.user import UserStream
from connections.streaming.user_accounts import AccountKey
from connections.streaming.user_publisher import UserPublisher
from desproject.lib.clock import SYSTEM_CLOCK
from tests.connections.conftest import BOB_KEY, KEY, deadline, market_order, resting_order, strike
from tests.connections.exchanges.second_version import operators_folder
from tests.connections.streaming.conftest import FEED, QUICK, UserReader, until

ALICE = AccountKey(uuid4(), uuid4(), 1)
BOB = AccountKey(uuid4(), uuid4(), 1)
KEYS = {ALICE.connection_id: KEY, BOB.connection_id: BOB_KEY}


class Running:
    """A stream at work and what it published."""

    def __init__(self, stream: UserStream, reader: UserReader) -> None:
        self.stream = stream
        self.reader = reader
        self.task = asyncio.create_task(stream.run())

    def of(self, key: AccountKey, kind: type) -> list:  # type: ignore[type-arg]
        return [
            event
            for event in self.reader.events
            if event.connection_id == key.connection_id and isinstance(event, kind)
        ]

    def ups(self, key: AccountKey) -> list[bool]:
        """How the account came and went, heart beats left out."""
        told = [event.up for event in self.of(key, StreamTold)]
        return [up for index, up in enumerate(told) if index == 0 or up != told[index - 1]]

    def epochs(self, key: AccountKey) -> list[int]:
        return sorted({event.epoch for event in self.of(key, StreamTold) if event.up})


@pytest.fixture
def timing() -> Timing:
    return QUICK


@pytest.fixture
async def running(
    simulator: SimulatorServer,
    network: Network,
    bus_client: "redis.asyncio.Redis",
    figures: Counter[str],
    timing: Timing,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Running]:
    async def known_key(_: user_module.UserSocket, account: user_module.Account) -> Credentials:
        return KEYS[account.key.connection_id]

    # The database's part is tested in test_host.py.
    monkeypatch.setattr(user_module.UserSocket, "credentials", known_key)
    monkeypatch.setattr(user_module, "BEAT_SECONDS", 0.1)
    publisher = UserPublisher(bus_client, figures, SYSTEM_CLOCK)
    stream = UserStream(
        FEED, venue("binance_spot"), network, publisher, timing=timing, figures=figures, clock=SYSTEM_CLOCK
    )
    streams = sorted({user_stream(shard_of(key.user_id)) for key in (ALICE, BOB)})
    found = Running(stream, UserReader(bus_client, streams))
    yield found
    tasks = [found.task, found.reader.task]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def place(network: Network, credentials: Credentials, client_order_id: str, *, rests: bool = False) -> None:
    request = resting_order(client_order_id) if rests else market_order(client_order_id)
    await venue("binance_spot").gateway(credentials, "simulator", network).place_order(request, deadline())


async def test_a_socket_of_another_version_than_the_switch_says_is_replaced_without_a_gap(
    running: Running, network: Network, figures: Counter[str], tmp_path: Path
) -> None:
    running.stream.want([ALICE])
    await until(lambda: running.ups(ALICE) == [True], "the account is up")
    with operators_folder(tmp_path) as folder:
        (folder / "switch.toml").write_text('version = "v4"')
        VENUE.versions.look()
        running.stream.keep_up()
        await until(lambda: figures["renewals"], "the socket's successor")
    await place(network, KEY, "alice-1")
    await until(lambda: running.of(ALICE, BalancesTold), "balances by it")

    assert running.ups(ALICE) == [True]
    assert figures["cuts"] == 0


async def test_each_tenant_hears_its_own_fills_and_balances_only(running: Running, network: Network) -> None:
    running.stream.want([ALICE, BOB])
    await until(lambda: running.ups(ALICE) == running.ups(BOB) == [True], "both accounts up")
    await place(network, KEY, "alice-1")
    await place(network, BOB_KEY, "bob-1")
    await until(lambda: running.of(ALICE, BalancesTold) and running.of(BOB, BalancesTold), "balances of both")

    for key, order_id in ((ALICE, "alice-1"), (BOB, "bob-1")):
        reports = running.of(key, OrderTold)
        assert {report.client_order_id for report in reports} == {order_id}
        assert {report.user_id for report in reports} == {key.user_id}
        assert reports[-1].status == "filled"
        assert sum(report.fill.quantity for report in reports if report.fill) == Decimal("0.01")


async def test_events_are_numbered_without_a_hole(running: Running, network: Network) -> None:
    running.stream.want([ALICE])
    await until(lambda: running.ups(ALICE) == [True], "the account up")
    for number in range(5):
        await place(network, KEY, f"order-{number}")
    await until(lambda: len(running.of(ALICE, BalancesTold)) == 5, "five balances")

    numbers = [event.sequence for event in running.reader.events if not isinstance(event, StreamTold)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(running.epochs(ALICE)) == 1


async def test_beats_tell_the_newest_number(running: Running, network: Network) -> None:
    running.stream.want([ALICE])
    await until(lambda: running.ups(ALICE) == [True], "the account up")
    await place(network, KEY, "order-1")
    await until(lambda: running.of(ALICE, BalancesTold), "balances")
    newest = running.of(ALICE, BalancesTold)[-1].sequence

    await until(lambda: running.of(ALICE, StreamTold)[-1].sequence == newest, "a beat with the newest number")
    await until(lambda: len(running.of(ALICE, StreamTold)) > 5, "more beats")


async def test_a_new_account_joins_the_open_socket(
    running: Running, simulator: SimulatorServer, figures: Counter[str]
) -> None:
    running.stream.want([ALICE])
    await until(lambda: running.ups(ALICE) == [True], "alice up")
    running.stream.want([ALICE, BOB])
    await until(lambda: running.ups(BOB) == [True], "bob up")

    assert simulator.sockets.count()[SocketKind.USER] == 1
    assert figures["connects"] == 1
    assert len(running.epochs(ALICE)) == 1


async def test_not_even_the_most_talkative_log_holds_a_key(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    running.stream.want([ALICE])
    await until(lambda: running.ups(ALICE) == [True], "the account up")

    assert caplog.records
    assert KEY.api_key not in caplog.text
    assert KEY.api_secret not in caplog.text


async def test_a_deleted_account_is_not_heard_any_more(
    running: Running, network: Network, simulator: SimulatorServer
) -> None:
    running.stream.want([ALICE, BOB])
    await until(lambda: running.ups(BOB) == [True], "bob up")
    running.stream.want([ALICE])
    await until(lambda: running.ups(BOB) == [True, False], "bob down")
    await until(lambda: not simulator.spot.events._subscriptions[BOB_KEY.api_key], "the subscription's end")
    await place(network, BOB_KEY, "bob-1")
    await place(network, KEY, "alice-1")
    await until(lambda: running.of(ALICE, BalancesTold), "alice's balances")

    assert not running.of(BOB, OrderTold)


async def test_a_cancel_is_told_under_the_orders_own_id(running: Running, network: Network) -> None:
    running.stream.want([ALICE])
    await until(lambda: running.ups(ALICE) == [True], "the account up")
    await place(network, KEY, "order-1", rests=True)
    await venue("binance_spot").gateway(KEY, "simulator", network).cancel_order("BTC/USDT", "order-1")
    await until(lambda: len(running.of(ALICE, OrderTold)) == 2, "two reports")

    told = [(report.client_order_id, report.status) for report in running.of(ALICE, OrderTold)]
    assert told == [("order-1", "working"), ("order-1", "cancelled")]


@pytest.mark.parametrize("abort", [False, True], ids=["closed", "aborted"])
async def test_a_cut_is_told_and_starts_a_greater_epoch(
    running: Running, simulator: SimulatorServer, network: Network, abort: bool
) -> None:
    running.stream.want([ALICE, BOB])
    await until(lambda: running.ups(ALICE) == running.ups(BOB) == [True], "both up")
    strike(simulator, "ws_cut", socket=SocketKind.USER, abort=abort)
    await until(lambda: running.ups(ALICE) == running.ups(BOB) == [True, False, True], "both down and up again")
    await place(network, KEY, "order-1")
    await until(lambda: running.of(ALICE, OrderTold), "a report")

    first, second = running.epochs(ALICE)
    assert first < second == running.of(ALICE, OrderTold)[0].epoch
    assert running.of(ALICE, OrderTold)[0].sequence == 1


async def test_an_ended_subscription_is_taken_up_again(running: Running, simulator: SimulatorServer) -> None:
    running.stream.want([ALICE])
    await until(lambda: running.ups(ALICE) == [True], "the account up")
    (subscription,) = simulator.spot.events._subscriptions[KEY.api_key]
    subscription.send({"e": "eventStreamTerminated", "E": 1})
    await until(lambda: running.ups(ALICE)[:2] == [True, False], "the account down")


async def test_an_order_stamped_beyond_all_years_is_unreadable_and_ends_no_socket(
    running: Running, simulator: SimulatorServer, network: Network, figures: Counter[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running.stream.want([ALICE, BOB])
    await until(lambda: running.ups(ALICE) == running.ups(BOB) == [True], "both up")
    known = Subscription.send
    monkeypatch.setattr(Subscription, "send", lambda self, event: known(self, {**event, "E": 10**18, "T": 10**18}))
    await place(network, KEY, "order-1", rests=True)
    await until(lambda: figures["user_frames_unreadable"], "the frame")

    await until(lambda: len(running.epochs(ALICE)) > 1, "a new epoch: the engine asks what it missed")
    assert (figures["connects"], running.ups(BOB)) == (1, [True])


async def test_a_refused_key_is_told_and_hurts_no_other(
    running: Running, simulator: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_module, "REFUSED_SECONDS", 0.2)
    simulator.control.change_key(KeySpec(BOB_KEY.api_key, enabled=False))
    running.stream.want([ALICE, BOB])
    await until(lambda: running.ups(ALICE) == [True] and running.ups(BOB) == [False], "alice up, bob refused")
    simulator.control.change_key(KeySpec(BOB_KEY.api_key, enabled=True))

    await until(lambda: running.ups(BOB) == [False, True], "bob up once his key works")


async def test_a_skewed_clock_is_corrected_before_the_next_try(
    running: Running, simulator: SimulatorServer, network: Network
) -> None:
    await venue("binance_spot").public("simulator", network).now_ms()
    strike(simulator, "clock_skew", milliseconds=-60_000)
    running.stream.want([ALICE])

    await until(lambda: running.ups(ALICE)[-1:] == [True], "the account up")


async def test_a_changed_key_is_subscribed_anew(
    running: Running, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.stream.want([ALICE])
    await until(lambda: running.ups(ALICE) == [True], "the account up")
    monkeypatch.setitem(KEYS, ALICE.connection_id, BOB_KEY)
    running.stream.want([AccountKey(ALICE.connection_id, ALICE.user_id, 2)])
    await until(lambda: len(running.epochs(ALICE)) == 2, "a new epoch")
    await place(network, BOB_KEY, "by-the-new-key")

    await until(lambda: running.of(ALICE, OrderTold), "a report by the new key")


async def test_duplicate_and_reordered_events_keep_their_own_numbers(
    running: Running, simulator: SimulatorServer, network: Network
) -> None:
    running.stream.want([ALICE])
    await until(lambda: running.ups(ALICE) == [True], "the account up")
    strike(simulator, "duplicate_event", count=1)
    await place(network, KEY, "order-1")
    await until(lambda: len(running.of(ALICE, BalancesTold)) == 2, "both copies")

    numbers = [event.sequence for event in running.reader.events if not isinstance(event, StreamTold)]
    assert all(after - before == 1 for before, after in pairwise(numbers))


class TestRenewal:
    @pytest.fixture
    def timing(self) -> Timing:
        return Timing(longest_pause=0.2, silence=60, overlap=0.2, lifetime=0.6)

    async def test_a_renewal_loses_no_event_and_starts_no_epoch(
        self, running: Running, network: Network, figures: Counter[str]
    ) -> None:
        running.stream.want([ALICE])
        await until(lambda: running.ups(ALICE) == [True], "the account up")
        placed = 0
        while figures["renewals"] < 3:
            placed += 1
            await place(network, KEY, f"order-{placed}")
            await asyncio.sleep(0.02)
        await until(
            lambda: {event.client_order_id for event in running.of(ALICE, OrderTold)}
            == {f"order-{number}" for number in range(1, placed + 1)},
            "every order",
        )

        assert len(running.epochs(ALICE)) == 1
        assert running.ups(ALICE) == [True]


def test_the_numbering_survives_a_restart_of_the_process(figures: Counter[str]) -> None:
    client = None
    epochs = []
    for _ in range(3):
        publisher = UserPublisher(client, figures, SYSTEM_CLOCK)  # type: ignore[arg-type]
        line = publisher.line(ALICE.connection_id, ALICE.user_id)
        publisher.up(line)
        publisher.up(line)
        epochs += [line.epoch]

    assert epochs == sorted(epochs)


