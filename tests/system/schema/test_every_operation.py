"""Every operation of the published schema, over real HTTP, asked with what its schema allows and with much that it
doesn't: no answer but those that the schema declares, no error but in the error format, none of our side's.

Each request is sent as it was made up, or with what there is in place of the ids, passwords and names that nobody
guesses: by turns, and by `make fuzz` both ways. Whoever changed something is replaced by somebody new: their session
may have ended with it.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import cycle
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CheckFunction, load_all_checks, not_a_server_error
from schemathesis.generation.feedback import FeedbackSources
from schemathesis.pytest._test_builder import build_operation_test
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.system.schema.callers import Caller, new_caller
from tests.system.schema.conftest import new_address
from tests.web.verdicts import API, Verdict

# How many requests `make fuzz` makes up for each operation, others in each run.
FUZZ = int(os.environ.get("FUZZ_EXAMPLES") or 0)
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(3600)
    if FUZZ
    else pytest.mark.database("embedded", reason="once is enough; make fuzz does it anywhere"),
]

# The boundaries of the schema are tried besides, the same ones each time.
MADE_UP = settings(
    max_examples=FUZZ or 6, derandomize=not FUZZ, database=None, deadline=None,
    suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate),
)  # fmt: skip
# After so many requests nobody known has seen how an operation turns them away.
ENOUGH = 20
# Which operations can't succeed here, and why.
FAIL = {
    ("get", "/api/health/ready"): "nothing runs besides this web process, and it says so",
    ("delete", "/api/connections/{id}"): "an order is open on it, which no engine cancels",
    ("post", "/api/strategy-instances/{id}/pause"): "it doesn't run",
    ("post", "/api/strategy-instances/{id}/dry-run-lift"): "without a gate there is nothing to lift",
    ("get", "/api/connections/{id}/leverage"): "the account is a spot account",
    ("put", "/api/connections/{id}/leverage"): "the account is a spot account",
}


Case = schemathesis.Case[Any]


def in_the_error_format(_: object, answer: schemathesis.Response, case: Case) -> None:
    if answer.status_code < 400 or case.method == "HEAD":
        return
    assert answer.content.startswith(b'{"error":'), answer.content
    error = json.loads(answer.content)["error"]
    assert {"code", "message"} <= set(error) <= {"code", "message", "fields", "retry_after"}


CHECKS: tuple[CheckFunction, ...] = (
    status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance,
    unsupported_method,
)  # fmt: skip
ERRORS: tuple[CheckFunction, ...] = (not_a_server_error, in_the_error_format)


class Asking:
    """Sends an operation's requests and counts the answers by who asked."""

    def __init__(self, method: str, path: str, verdict: Verdict, session: requests.Session) -> None:
        self.answers: Counter[tuple[str, int]] = Counter()
        self._method, self._path = method.upper(), path
        # Readiness has a shape of its own for "not ready".
        self._checks = [*CHECKS] if path == "/api/health/ready" else [*CHECKS, *ERRORS]
        self._is_open = verdict.nobody not in verdict.turned_away
        self._session = session
        self._turns = cycle((True, bool(FUZZ)))
        self._caller = new_caller(path)

    def ask(self, case: Case) -> None:
        parts = (case.path_parameters, case.query, case.body)
        fill = case.method == self._method and any(map(self._caller.knows, parts)) and next(self._turns)
        if fill:
            self._send_as_user(_filled(case, self._caller))
        if FUZZ or not fill:
            self._ask_as_made_up(case)

    def _ask_as_made_up(self, case: Case) -> None:
        if self._is_open or self.answers.total() < ENOUGH:
            self._send(case, "nobody", {})
        if not self._is_open:
            self._send_as_user(case)

    def _send_as_user(self, case: Case) -> None:
        status = self._send(case, "user", self._caller.headers)
        if case.method != "GET" and status < 400:
            self._caller = new_caller(self._path)

    def _send(self, case: Case, who: str, headers: Mapping[str, str]) -> int:
        answer = case.call(
            session=self._session, headers={**headers, "X-Forwarded-For": new_address()}, allow_redirects=False
        )
        self.answers[who, answer.status_code] += 1
        case.validate_response(answer, checks=self._checks)
        return answer.status_code


def _filled(case: Case, caller: Caller) -> Case:
    filled = case.derive()
    for part in ("path_parameters", "query", "body"):
        if caller.knows(values := getattr(case, part)):
            setattr(filled, part, caller.filled(values))
    return filled


@pytest.mark.parametrize(("method", "path"), API)
def test_every_answer_is_as_declared(
    published: schemathesis.BaseSchema, session: requests.Session, record_property: Callable[[str, object], None],
    method: str, path: str,
) -> None:  # fmt: skip
    asking = Asking(method, path, API[method, path], session)

    @MADE_UP
    def ask(case: Case) -> None:
        asking.ask(case)

    load_all_checks()
    # What schemathesis' plug-in does by itself for all operations when tests are collected, whoever wants them.
    build_operation_test(
        config=published.config, operation=published[path][method.upper()], test_func=ask, given_kwargs={},
        feedback=FeedbackSources(),
    )()  # fmt: skip
    record_property("answers", dict(sorted(asking.answers.items())))
    succeeded = any(status < 300 for _, status in asking.answers)
    assert succeeded != ((method, path) in FAIL), asking.answers
