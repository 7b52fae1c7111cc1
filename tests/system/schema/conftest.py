"""One web process for all operations, with a simulated exchange behind it."""

import json
import secrets
from collections.abc import Iterator
from http.cookiejar import DefaultCookiePolicy
from itertools import count

import pytest
import requests
import schemathesis
from django.conf import settings

from tests.web.exchange import ThreadedExchange
from tests.web.process import serving

# What limits do is tried elsewhere. Those of addresses are met by calling from a new one each time, as if through a
# proxy; the others are raised.
_ENVIRONMENT = {
    "TRUSTED_PROXIES": "127.0.0.1",
    "RATE_LIMIT_GLOBAL_REQUESTS": "1000000", "RATE_LIMIT_REQUESTS": "1000000", "RATE_LIMIT_ORDERS": "10000",
}  # fmt: skip
_numbers = count(1)


def new_address() -> str:
    """An address that nobody has called from before."""
    number = next(_numbers)
    return f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1"


@pytest.fixture(scope="module")
def site(django_db_setup: None, redis_server: str) -> Iterator[str]:
    """Its address. The test process reads and writes the same database, and signs its tokens with the same key."""
    secret = secrets.token_hex(32)
    with pytest.MonkeyPatch.context() as patch, ThreadedExchange() as exchange:
        patch.setattr(settings.CONFIG, "jwt_secret", secret)
        with serving({**_ENVIRONMENT, "SIMULATOR_URL": exchange.url, "JWT_SECRET": secret}) as url:
            yield url


@pytest.fixture(scope="module")
def session(site: str) -> Iterator[requests.Session]:
    """Keeps its connection, but no cookies."""
    with requests.Session() as session:
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        yield session


@pytest.fixture(scope="module")
def published(site: str, session: requests.Session) -> schemathesis.BaseSchema:
    """The schema as the site serves it."""
    told = session.get(f"{site}/api/schema", headers={"Accept": "application/json"}, timeout=20)
    schema = schemathesis.openapi.from_dict(json.loads(told.content))
    schema.config.update(base_url=site)
    # The callers bring their own.
    schema.config.generation.update(with_security_parameters=False)
    return schema


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """For each operation how often each status came, by who asked."""
    total = 0
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        answers = dict(report.user_properties).get("answers")
        if report.when == "call" and isinstance(answers, dict):
            total += sum(answers.values())
            told = ", ".join(f"{who} {status} ({times})" for (who, status), times in answers.items())
            terminalreporter.write_line(f"{report.nodeid.partition('[')[2]}: {told}")
    if total:
        terminalreporter.write_line(f"{total} requests in all")
