"""Installations for the system tests: on the embedded default, or on what DATABASE_URL and REDIS_URL name."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.installation import Installation
from tests.system.services import own_services


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.system)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture
def services() -> Iterator[dict[str, str]]:
    with own_services() as running:
        yield running


@pytest.fixture
def installation(tmp_path: Path, services: dict[str, str]) -> Iterator[Installation]:
    """One that isn't started yet; nothing of it is left after the test."""
    installation = Installation(tmp_path, services)
    yield installation
    installation.destroy()


@pytest.fixture
def start_trading(installation: Installation) -> Callable[..., Installation]:
    """Starts the demo and returns when both users have traded."""

    def start(*arguments: str, **options: dict[str, str]) -> Installation:
        installation.start(*arguments, **options)  # type: ignore[arg-type]
        installation.wait_until(
            lambda: installation.count("SELECT count(DISTINCT user_id) FROM trades") == 2, "both users traded"
        )
        # On a busy machine they trade before the demo has come to write down where everything is.
        installation.wait_until((installation.folder / "demo.json").exists, "the demo tells where everything is")
        return installation

    return start
