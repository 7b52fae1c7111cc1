"""Where a request comes from, as it is recorded."""

import ipaddress
from dataclasses import dataclass

from django.http import HttpRequest


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller's address (None where the server can't tell) and user agent."""

    ip: str | None
    user_agent: str


def caller_of(request: HttpRequest) -> Caller:
    """Who sent this request."""
    return Caller(_address(request.META.get("REMOTE_ADDR", "")), request.META.get("HTTP_USER_AGENT", "")[:300])


def _address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
