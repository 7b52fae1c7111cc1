"""The caller's address: forwarded ones are believed as far as trusted proxies wrote them."""

from ipaddress import ip_network
from typing import Any

import pytest
from django.test import RequestFactory

from accounts.caller import caller_of


@pytest.fixture
def _behind_proxies(settings: Any) -> None:
    networks = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
    settings.CONFIG = settings.CONFIG.model_copy(update={"trusted_proxies": networks})


def address(peer: str, forwarded: str | None = None) -> str | None:
    headers = {} if forwarded is None else {"HTTP_X_FORWARDED_FOR": forwarded}
    return caller_of(RequestFactory().get("/", REMOTE_ADDR=peer, **headers)).ip  # type: ignore[arg-type]


def test_without_trusted_proxies_only_the_peer_counts() -> None:
    assert address("10.0.0.1", "203.0.113.9") == "10.0.0.1"


@pytest.mark.usefixtures("_behind_proxies")
@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "6.6.6.6, 10.0.0.3, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("fd00::1", "2001:db8::7", "2001:db8::7"),
        ("203.0.113.9", "6.6.6.6", "203.0.113.9"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "nonsense", None),
        ("", "6.6.6.6", None),
    ],
)
def test_the_last_address_that_is_no_proxy_is_the_callers(peer: str, forwarded: str | None, caller: str) -> None:
    assert address(peer, forwarded) == caller
