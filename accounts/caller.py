"""Where a request comes from, as it is recorded."""

import ipaddress
from dataclasses import dataclass

from django.conf import settings
from django.http import HttpRequest

# A whole network of this size is one customer's: its addresses are free to change.
_IPV6_CUSTOMER = 64


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller's address (None where the server can't tell) and user agent."""

    ip: str | None
    user_agent: str


def caller_of(request: HttpRequest) -> Caller:
    """Who sent this request.

    X-Forwarded-For is believed only as far as it was written by proxies that TRUSTED_PROXIES names: the last address
    in it that is none of them is the caller's. What stands before that, the caller may have made up.
    """
    meta = request.META
    return caller_at(
        meta.get("REMOTE_ADDR", ""), meta.get("HTTP_X_FORWARDED_FOR", ""), meta.get("HTTP_USER_AGENT", "")
    )


def caller_at(peer: str, forwarded: str, user_agent: str) -> Caller:
    """The caller by the other end's address and the headers X-Forwarded-For and User-Agent, as ``caller_of`` says."""
    address = _address(peer)
    for text in reversed(forwarded.split(",") if forwarded else []):
        if not _is_proxy(address):
            break
        address = _address(text.strip())
    return Caller(address, user_agent[:300])


def network_of(ip: str) -> str:
    """What is counted as one caller: an IPv4 address, an IPv6 customer's whole network."""
    address = ipaddress.ip_address(ip)
    if address.version == 4:
        return ip
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, _IPV6_CUSTOMER), strict=False))


def _is_proxy(address: str | None) -> bool:
    return address is not None and any(ipaddress.ip_address(address) in net for net in settings.CONFIG.trusted_proxies)


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
