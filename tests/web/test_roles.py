"""What each role may see, tried from the table that says it (TEN-5)."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from django.test import Client as Browser
from rest_framework.test import APIClient

from accounts import password_reset
from accounts.models import Role, User
from accounts.roles import MAY, Reach, Thing
from accounts.tenancy import everyone
from audit.models import AuditLog
from tests.web.conftest import Client
from tests.web.exchange import ALICE_KEY, BOB_KEY
from tests.web.rows import make_everything

# Whose row it is, seen from the caller: within which reach it lies.
WITHIN = {"own": {Reach.OWN, Reach.TEAM, Reach.ALL}, "member": {Reach.TEAM, Reach.ALL}, "stranger": {Reach.ALL}}
CASES = [(role, owner) for role in Role for owner in WITHIN]
DORA = {"email": "dora@example.org", "password": "plum-sunrise-otter"}
AsRole = Callable[[Role], APIClient]


@pytest.fixture
def people(alice: User, bob: User, charlie: User) -> dict[str, User]:
    """The caller is alice; bob is in her team, charlie isn't."""
    User.objects.filter(pk=bob.pk).update(manager=alice)
    return {"own": alice, "member": bob, "stranger": charlie}


@pytest.fixture
def as_role(alice: User, logged_in: Client) -> AsRole:
    def become(role: Role) -> APIClient:
        User.objects.filter(pk=alice.pk).update(role=role, is_admin=role == Role.ADMINISTRATOR)
        return logged_in(User.objects.get(pk=alice.pk))

    return become


def test_the_table_is_whole() -> None:
    assert set(MAY) == set(Role)
    assert all(set(row) == set(Thing) for row in MAY.values())


@pytest.mark.parametrize(("role", "owner"), CASES)
def test_trading_rows(people: dict[str, User], as_role: AsRole, role: Role, owner: str) -> None:
    owned = make_everything(people[owner], ALICE_KEY)
    client = as_role(role)
    seen = MAY[role][Thing.TRADING_ROWS] in WITHIN[owner]
    for path in (f"orders/{owned.order.pk}", f"connections/{owned.connection.pk}"):
        assert client.get(f"/api/{path}").status_code == (200 if seen else 404)
    assert (str(owned.connection.pk) in client.get("/api/trades").content.decode()) is seen
    if not seen:
        assert client.delete(f"/api/orders/{owned.order.pk}").status_code == 404
        body = {"connection": str(owned.connection.pk), "symbol": "BTC/USDT", "side": "buy", "type": "market",
                "quantity": "1"}  # fmt: skip
        assert client.post("/api/orders", body, format="json").status_code == 404


@pytest.mark.parametrize(("role", "owner"), CASES)
def test_audit_log(people: dict[str, User], as_role: AsRole, role: Role, owner: str) -> None:
    owned = make_everything(people[owner], ALICE_KEY)
    answer = as_role(role).get(f"/api/audit-logs?user={people[owner].pk}")
    if MAY[role][Thing.AUDIT_LOG] in WITHIN[owner]:
        assert {row["user"] for row in answer.json()["results"]} == {str(owned.user.pk)}
    else:
        assert answer.status_code == 404


@pytest.mark.parametrize("role", Role)
def test_the_teams_audit_log(people: dict[str, User], as_role: AsRole, role: Role) -> None:
    for person in people.values():
        make_everything(person, ALICE_KEY)
    shown = as_role(role).get("/api/audit-logs?team=true").json()["results"]
    expected = {"own"} if MAY[role][Thing.AUDIT_LOG] == Reach.OWN else {"own", "member"}
    assert {row["user"] for row in shown} == {str(people[owner].pk) for owner in expected}


@pytest.mark.parametrize("role", Role)
def test_users(people: dict[str, User], as_role: AsRole, role: Role) -> None:
    client = as_role(role)
    answer = client.get("/api/users")
    whose = MAY[role][Thing.USERS]
    if whose == Reach.NOBODY:
        assert answer.status_code == 403
        assert client.post("/api/users", DORA, format="json").status_code == 403
        return
    seen = {row["email"].split("@")[0] for row in answer.json()["results"]}
    assert seen == ({"alice", "bob", "charlie"} if whose == Reach.ALL else {"alice", "bob"})


@pytest.mark.parametrize("role", Role)
def test_operation(people: dict[str, User], as_role: AsRole, alice: User, role: Role) -> None:
    client = as_role(role)
    allowed = MAY[role][Thing.OPERATION] == Reach.ALL
    pressed = client.post("/api/kill-switch", {"level": "system", "reason": "a test"}, format="json")
    assert pressed.status_code == (201 if allowed else 403)
    browser = Browser()
    browser.force_login(User.objects.get(pk=alice.pk))
    assert browser.get("/admin/accounts/user/").status_code == (200 if allowed else 302)


@pytest.mark.parametrize(("role", "owner"), CASES)
def test_nobody_reads_a_secret(people: dict[str, User], as_role: AsRole, role: Role, owner: str) -> None:
    make_everything(people[owner], BOB_KEY)
    client = as_role(role)
    paths = ["connections", "audit-logs", "audit-logs?team=true", f"audit-logs?user={people[owner].pk}", "users", "me"]
    text = "".join(client.get(f"/api/{path}").content.decode() for path in paths)
    assert [part for part in (BOB_KEY.api_key, BOB_KEY.api_secret, "ENC[", "argon2") if part in text] == []


def test_the_role_column_alone_makes_no_administrator(alice: User, logged_in: Client) -> None:
    User.objects.filter(pk=alice.pk).update(role=Role.ADMINISTRATOR, is_admin=False)
    assert logged_in(alice).get("/api/users").status_code == 403


def test_a_manager_creates_traders_of_the_team(
    people: dict[str, User], as_role: AsRole, anonymous: APIClient
) -> None:
    made = as_role(Role.MANAGER).post("/api/users", DORA, format="json")
    assert made.status_code == 201, made.content
    assert (made.json()["role"], made.json()["manager"]) == ("trader", str(people["own"].pk))
    assert anonymous.post("/api/login", DORA, format="json").status_code == 200
    with everyone():
        row = AuditLog.objects.get(event_type="user.created")
    assert (row.user, row.resource_id) == (people["own"], made.json()["id"])


@pytest.mark.parametrize("role", ["manager", "administrator", "owner"])
def test_a_manager_creates_nobody_above_traders(as_role: AsRole, role: str) -> None:
    assert as_role(Role.MANAGER).post("/api/users", {**DORA, "role": role}, format="json").status_code == 400
    assert not User.objects.filter(email=DORA["email"]).exists()


def test_an_administrator_creates_managers_but_no_administrators(as_role: AsRole) -> None:
    client = as_role(Role.ADMINISTRATOR)
    assert client.post("/api/users", {**DORA, "role": "administrator"}, format="json").status_code == 400
    made = client.post("/api/users", {**DORA, "role": "manager"}, format="json").json()
    assert (made["role"], made["manager"]) == ("manager", None)


def test_without_a_password_the_new_user_gets_a_mail(
    as_role: AsRole, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    monkeypatch.setattr(password_reset, "async_task", lambda _, wish_id: password_reset.mail_token(wish_id))
    with django_capture_on_commit_callbacks(execute=True):
        as_role(Role.MANAGER).post("/api/users", {"email": DORA["email"]}, format="json")
    assert [message.to for message in mail.outbox] == [[DORA["email"]]]
    assert not User.objects.get(email=DORA["email"]).has_usable_password()
