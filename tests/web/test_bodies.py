"""SEC-2: whatever a body holds, every route that takes one refuses it in the error format, naming the field.

The routes and their fields come from the published schema.
"""

import json
from typing import Any
from uuid import UUID

import pytest
from rest_framework.test import APIClient

from accounts.models import Role, User
from tests.web.conftest import Client
from tests.web.exchange import ALICE_KEY
from tests.web.operations import OPERATIONS, SCHEMA
from tests.web.rows import Owned, make_everything
from tests.web.test_error_format import MEGABYTE, error_of

pytestmark = pytest.mark.usefixtures("many_requests")
JSON = "application/json"


def shape_of(operation: dict[str, Any]) -> dict[str, Any]:
    """The body's fields by name, as the schema says."""
    reference = operation["requestBody"]["content"][JSON]["schema"]["$ref"]
    fields: dict[str, Any] = SCHEMA["components"]["schemas"][reference.rpartition("/")[2]]["properties"]
    return {name: field for name, field in fields.items() if not field.get("readOnly")}


TAKING_A_BODY = {(method, path): shape_of(operation) for method, path, operation in OPERATIONS
                 if "requestBody" in operation}  # fmt: skip
EVERY_ROUTE = pytest.mark.parametrize(("method", "path"), TAKING_A_BODY)

MALFORMED = [
    b"{", b"nonsense", b"{'a': 1}", b'{"a": 1,}', b"\xff\xfe", b'{"a": 1} {"b": 2}', b"[" * 100_000,
    # Deeper than can be read at all.
    b'{"a":' * 2000 + b"1" + b"}" * 2000,
]  # fmt: skip
# By what is wrong with it, a value that no field takes: as the text of the JSON.
UNSTORABLE = {
    "NUL": r'"a\u0000b"', "half a pair": r'"\ud800"', "the other half": r'"\udfff"', "not a number": "NaN",
    "infinite": "Infinity", "less than all": "-Infinity", "past a float": "1e999999999", "endless": "9" * 5000,
    "deep": '{"a":' * 100 + "1" + "}" * 100, "deep lists": "[" * 100 + "]" * 100, "inside": r'[{"a": ["\u0000"]}]',
}  # fmt: skip


@pytest.fixture
def alices(alice: User, request: pytest.FixtureRequest) -> Owned:
    # Whoever may send most: a manager of a team; only administrators write into the risk register, and lift dry runs.
    is_admin = any(path in request.node.name for path in ("/api/risk/events", "/dry-run-lift"))
    User.objects.filter(pk=alice.pk).update(role=Role.MANAGER, is_admin=is_admin)
    return make_everything(User.objects.get(pk=alice.pk), ALICE_KEY)


@pytest.fixture
def client(alices: Owned, logged_in: Client) -> APIClient:
    return logged_in(alices.user)


def send(client: APIClient, owned: Owned, method: str, path: str, raw: bytes, kind: str = JSON) -> Any:
    rows = {
        "connections": owned.connection, "strategy-instances": owned.instance, "orders": owned.order,
        "risk": owned.event,
    }  # fmt: skip
    filled = path.replace("{id}", str(getattr(rows.get(path.split("/")[2]), "pk", UUID(int=7))))
    return client.generic(method.upper(), filled, raw, kind)  # type: ignore[arg-type]  # bytes go out as they are


def test_the_schema_has_the_routes_that_matter() -> None:
    assert {("post", "/api/orders"), ("put", "/api/risk/policy"), ("post", "/api/login")} <= set(TAKING_A_BODY)
    assert len(TAKING_A_BODY) >= 19


@EVERY_ROUTE
def test_too_much_is_refused(client: APIClient, alices: Owned, method: str, path: str) -> None:
    raw = b'{"name": "' + b"x" * MEGABYTE + b'"}'
    assert error_of(send(client, alices, method, path, raw), 413)["code"] == "BODY_TOO_LARGE"


@EVERY_ROUTE
def test_other_kinds_than_json_are_refused(client: APIClient, alices: Owned, method: str, path: str) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/xml"):
        error = error_of(send(client, alices, method, path, b"a=1", kind), 415)
        assert error["code"] == "UNSUPPORTED_MEDIA_TYPE"


@EVERY_ROUTE
def test_malformed_json_is_refused(client: APIClient, alices: Owned, method: str, path: str) -> None:
    for raw in MALFORMED:
        assert error_of(send(client, alices, method, path, raw), 400)["code"] == "MALFORMED_JSON", raw[:20]


@EVERY_ROUTE
def test_what_cannot_be_stored_is_refused_by_field(client: APIClient, alices: Owned, method: str, path: str) -> None:
    for name in TAKING_A_BODY[method, path]:
        for what, value in UNSTORABLE.items():
            raw = f'{{"{name}": {value}}}'.encode()
            error = error_of(send(client, alices, method, path, raw), 400)
            assert name in {field.partition(".")[0] for field in error["fields"]}, (name, what, error)


@EVERY_ROUTE
def test_values_of_another_kind_and_endless_texts_are_refused_by_field(
    client: APIClient, alices: Owned, method: str, path: str
) -> None:
    for name, field in TAKING_A_BODY[method, path].items():
        is_object = field.get("type") == "object"
        for value in ("x" * 100_000, ["a", "list"], 10**30 if is_object else {"an": "object"}):
            raw = json.dumps({name: value}).encode()
            error = error_of(send(client, alices, method, path, raw), 400)
            assert name in {field.partition(".")[0] for field in error["fields"]}, (name, str(value)[:20], error)


def test_a_name_that_cannot_be_stored_is_refused_and_not_repeated(client: APIClient, alices: Owned) -> None:
    for raw in (rb'{"\udfff": 1}', rb'{"a\u0000b": 1}'):
        assert set(error_of(send(client, alices, "post", "/api/orders", raw), 400)["fields"]) == {"non_field_errors"}
