"""Feature flags: stable for a user, never taken away by a higher percentage, bad values named together."""

import uuid
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desproject.lib.features import GATEWAY_TRUST, Feature, FeaturesUnusable, Stage, active, stages


@dataclass
class Account:
    pk: uuid.UUID = field(default_factory=uuid.uuid4)
    is_alpha: bool = False


FEATURE = Feature("SAMPLE", switches="nothing", why="a test", default="off")
PERCENT = st.integers(0, 10_000).map(lambda hundredths: f"{hundredths / 100:.2f}%")


def has(stage: str, account: Account, settings: Any, feature: Feature = FEATURE) -> bool:
    settings.FEATURE_STAGES = {feature.name: Stage.of(stage)}
    return feature.reaches(account)


def test_off_reaches_nobody_and_on_everybody(settings: Any) -> None:
    for account in (Account(), Account(is_alpha=True)):
        assert not has("off", account, settings)
        assert has("on", account, settings)


@pytest.mark.parametrize("stage", ["alpha", "0%", "10%", "100%", "on"])
def test_alpha_accounts_have_it_at_every_stage_but_off(settings: Any, stage: str) -> None:
    assert has(stage, Account(is_alpha=True), settings)


@pytest.mark.parametrize("stage", ["alpha", "0%"])
def test_nobody_else_has_it_at_alpha(settings: Any, stage: str) -> None:
    assert not any(has(stage, Account(), settings) for _ in range(100))


@given(user=st.uuids(), stages=st.tuples(PERCENT, PERCENT))
def test_a_higher_percentage_takes_it_from_nobody(user: uuid.UUID, stages: tuple[str, str]) -> None:
    account = Account(user)
    low, high = sorted(stages, key=lambda text: float(text[:-1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.conf.settings.FEATURE_STAGES", {"SAMPLE": Stage.of(low)})
        before = FEATURE.reaches(account)
        patch.setattr("django.conf.settings.FEATURE_STAGES", {"SAMPLE": Stage.of(high)})
        assert FEATURE.reaches(account) >= before


@pytest.mark.parametrize("percent", [1, 10, 50, 90])
def test_a_percentage_is_that_share_of_all_users(settings: Any, percent: int) -> None:
    accounts = [Account(uuid.UUID(int=number)) for number in range(20_000)]
    settings.FEATURE_STAGES = {"SAMPLE": Stage.of(f"{percent}%")}
    share = 100 * sum(map(FEATURE.reaches, accounts)) / len(accounts)
    assert share == pytest.approx(percent, abs=1.5)  # four standard deviations at 50 %; the users are always the same


def test_it_is_not_always_the_same_users_who_are_first(settings: Any) -> None:
    other = Feature("OTHER", switches="nothing", why="a test", default="off")
    settings.FEATURE_STAGES = {"SAMPLE": Stage.of("10%"), "OTHER": Stage.of("10%")}
    accounts = [Account(uuid.UUID(int=number)) for number in range(20_000)]
    both = sum(FEATURE.reaches(account) and other.reaches(account) for account in accounts)
    assert both / len(accounts) == pytest.approx(0.01, abs=0.005)


def test_a_user_has_it_in_every_process_or_in_none(settings: Any) -> None:
    # The point is part of the contract: who has a feature keeps it over restarts and releases.
    account = Account(uuid.UUID("00000000-0000-4000-8000-00000000a11c"))
    assert [text for text in ("10%", "72.17%", "72.18%", "80%") if has(text, account, settings)] == ["72.18%", "80%"]


@pytest.mark.parametrize("text", ["yes", "10", "-1%", "101%", "100.01%", "1e1%", "10 %", "nan%", "%"])
def test_what_is_no_stage_is_refused_by_name(text: str) -> None:
    with pytest.raises(FeaturesUnusable, match="FEATURE_GATEWAY_TRUST: must be off, alpha, on or a percentage"):
        stages({"FEATURE_GATEWAY_TRUST": text})


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(FeaturesUnusable) as caught:
        stages({"FEATURE_GATEWAY_TRUST": "perhaps", "FEATURE_TYPING": "on", "PATH": "/bin"})
    assert [fault.split(":")[0] for fault in caught.value.faults] == ["FEATURE_GATEWAY_TRUST", "FEATURE_TYPING"]


def test_an_empty_variable_counts_as_unset() -> None:
    assert stages({"FEATURE_GATEWAY_TRUST": ""}) == stages({})


def test_a_user_s_features_are_named(settings: Any) -> None:
    settings.FEATURE_STAGES = {GATEWAY_TRUST.name: Stage.of("alpha")}
    assert active(Account(is_alpha=True)) == ["GATEWAY_TRUST"]
    assert active(Account()) == []
