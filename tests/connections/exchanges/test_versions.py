"""Versions of one exchange side by side, the switch between them, and both changing while DES runs (CON-7)."""

from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from connections.exchanges.binance_spot import VENUE
from connections.exchanges.binance_spot.venue import read_spot
from connections.exchanges.versions import LOOK_SECONDS, Canary, Versions
from desproject.lib.clock import ManualClock
from desproject.lib.metrics.registry import METRICS
from tests.connections.exchanges.second_version import FOLDER, SHIPPED, mapping, operators_folder

VERSIONS = VENUE.versions
ALICE, BOB = "5d1c77aa-0000-4000-8000-00000000a11c", "5d1c77aa-0000-4000-8000-000000000b0b"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with operators_folder(tmp_path) as made:
        yield made


def switched(folder: Path, text: str) -> None:
    (folder / "switch.toml").write_text(text)
    VERSIONS.look()


def counted(what: str) -> int:
    return METRICS.snapshot("test", "here").totals.get(f"exchange_api.binance_spot_{what}", 0)


def test_a_second_version_lies_beside_the_shipped_one_and_changes_nothing_by_itself(folder: Path) -> None:
    assert VERSIONS.names() == ["v3", "v4"]
    assert VERSIONS.of("live", ALICE) is VERSIONS.shipped


def test_the_switch_names_the_version_of_all_or_of_a_mode(folder: Path) -> None:
    switched(folder, 'version = "v4"\nmodes = { live = "v3" }')

    assert (VERSIONS.of("testnet").version, VERSIONS.of("live").version) == ("v4", "v3")


def test_a_canarys_own_requests_go_by_another_version(folder: Path) -> None:
    switched(folder, f'[canary]\nversion = "v4"\nconnections = ["{ALICE}"]')

    assert (VERSIONS.of("live", ALICE).version, VERSIONS.of("live", BOB).version) == ("v4", "v3")
    assert VERSIONS.of("live").version == "v3"


def test_a_higher_share_takes_the_canary_from_nobody() -> None:
    ids = [f"connection-{number}" for number in range(1000)]
    shares = [{each for each in ids if Canary("v4", percent).has(each)} for percent in (0, 10, 50, 100)]

    assert [len(share) for share in shares[:1] + shares[3:]] == [0, 1000]
    assert 50 < len(shares[1]) < 150
    assert shares[1] <= shares[2]


def test_the_shipped_version_is_replaced_by_a_file_of_its_name(folder: Path) -> None:
    (folder / "fix.toml").write_text(mapping(version="v3"))
    VERSIONS.look()

    assert VERSIONS.of("live").paths.order == "/v4/orders"


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("v4.toml", mapping().replace('order = "/v4/orders"\n', ""), "order"),
        ("v4.toml", mapping()[:4000], ""),
        ("v4.toml", mapping().replace('"GET depth" = 50\n', ""), "GET depth"),
        ("v5.toml", mapping(), "v4"),
        ("v5.toml", "", "version"),
        ("switch.toml", 'version = "v9"', "v9"),
        ("switch.toml", 'modes = { lively = "v4" }', "lively"),
        ("switch.toml", '[canary]\nversion = "v4"\npercent = 101', "percent"),
        ("switch.toml", "vertion = 4", "vertion"),
    ],
    ids=["hole", "cut off", "no cost", "twice", "empty", "no version", "no mode", "share", "typo"],
)
def test_a_fault_refuses_the_folder_as_a_whole_and_what_was_in_use_stays(
    folder: Path, name: str, text: str, complaint: str
) -> None:
    switched(folder, 'version = "v4"')
    before, refused = VERSIONS.of("live"), counted("refused")

    (folder / "other.toml").write_text(mapping(version="v6"))
    (folder / name).write_text(text)
    VERSIONS.look()

    assert VERSIONS.of("live") is before
    assert VERSIONS.names() == ["v3", "v4"]
    assert name in VERSIONS.fault
    assert complaint in VERSIONS.fault
    assert counted("refused") == refused + 1


def test_once_the_fault_is_gone_the_folder_is_taken_over(folder: Path) -> None:
    switched(folder, "nonsense")
    assert VERSIONS.fault

    switched(folder, 'version = "v4"')

    assert not VERSIONS.fault
    assert VERSIONS.of("live").version == "v4"


def test_a_folder_that_is_away_changes_nothing_and_is_read_when_it_is_back(folder: Path) -> None:
    switched(folder, 'version = "v4"')
    away = folder.parent.rename(folder.parent.with_name("away"))
    VERSIONS.look()
    assert VERSIONS.of("live").version == "v4"
    assert "can't be read" in VERSIONS.fault

    away.rename(folder.parent)
    VERSIONS.look()

    assert not VERSIONS.fault


def test_a_change_is_noticed_by_use_once_a_second_at_most(folder: Path) -> None:
    clock = ManualClock(datetime(2026, 11, 22, tzinfo=UTC))
    versions = Versions("binance_spot", FOLDER, read_spot, clock)
    assert versions.of("live").version == "v3"

    (folder / "switch.toml").write_text('version = "v4"')

    assert versions.of("live").version == "v3"
    clock.advance(LOOK_SECONDS)
    assert versions.of("live").version == "v4"


def test_the_command_tells_which_version_is_used_and_refuses_a_fault(folder: Path) -> None:
    switched(folder, f'modes = {{ live = "v4" }}\n[canary]\nversion = "v4"\nconnections = ["{ALICE}"]')
    told = StringIO()
    call_command("exchange_versions", stdout=told)

    assert "binance_spot: v3, v4; live by v4, testnet by v3" in told.getvalue()
    assert "1 named connections by v4" in told.getvalue()

    (folder.parent / "binance_sport").mkdir()
    (folder / "v4.toml").write_text(SHIPPED[:100])
    with pytest.raises(CommandError, match=r"binance_sport: no such exchange; binance_spot: v4\.toml"):
        call_command("exchange_versions", stdout=told)
