"""What a finding makes of a connection that changed while the exchange was asked."""

from typing import Any

import pytest

from accounts.models import User
from accounts.tenancy import tenant_scope
from audit.models import AuditLog
from connections.gateways import KeyPermissions, KeyRefused, Unreachable
from connections.health import Finding, judge, note
from connections.models import Connection
from desproject.lib.clock import SYSTEM_CLOCK
from tests.web.exchange import ALICE_KEY
from tests.web.rows import make_connection

pytestmark = pytest.mark.django_db

_GOOD = KeyPermissions(can_read=True, can_trade=True, can_withdraw=False, ip_restricted=False)
_REFUSED = Finding(fault="the exchange refuses the key", is_final=True)


def kept(row: Connection, finding: Finding, *, version: int = 1, user: User | None = None) -> Connection:
    note((user or row.user).pk, row.pk, version, finding, SYSTEM_CLOCK.now())
    with tenant_scope(row.user_id):
        found: Connection = Connection.objects.get(pk=row.pk)
        return found


@pytest.mark.parametrize(
    ("answer", "fault", "is_final"),
    [
        (_GOOD, False, False),
        (KeyPermissions(can_read=True, can_trade=True, can_withdraw=True, ip_restricted=False), True, True),
        (KeyPermissions(can_read=True, can_trade=False, can_withdraw=False, ip_restricted=False), True, True),
        (KeyRefused("no"), True, True),
        (Unreachable("silence"), True, False),
    ],
)
def test_what_an_answer_means(answer: Any, fault: bool, is_final: bool) -> None:
    finding = judge(answer)
    assert (bool(finding.fault), finding.is_final) == (fault, is_final)


def test_failures_count_in_a_row_only(alice: User) -> None:
    row = make_connection(alice, ALICE_KEY)
    silence, answer = judge(Unreachable("silence")), judge(_GOOD)
    after = [kept(row, finding).status for finding in (silence, silence, answer, silence, silence, silence, answer)]
    assert after == ["ok", "ok", "ok", "ok", "ok", "unhealthy", "ok"]


def test_only_a_change_is_told(alice: User) -> None:
    row = make_connection(alice, ALICE_KEY)
    for finding in (_REFUSED, _REFUSED, judge(_GOOD), judge(_GOOD)):
        kept(row, finding)
    with tenant_scope(alice.pk):
        rows = AuditLog.objects.filter(resource_id=str(row.pk)).order_by("pk")
        told = list(rows.values_list("event_type", flat=True))
    assert told == ["connection.unhealthy", "connection.recovered"]


def test_a_finding_about_a_replaced_key_is_dropped(alice: User) -> None:
    row = make_connection(alice, ALICE_KEY, credential_version=2)
    assert kept(row, _REFUSED, version=1).status == "ok"
    assert kept(row, _REFUSED, version=2).status == "unhealthy"


@pytest.mark.parametrize("values", [{"status": "disabled"}, {"is_deleted": True}])
def test_a_disabled_or_deleted_connection_stays_as_it_is(alice: User, values: dict[str, Any]) -> None:
    row = make_connection(alice, ALICE_KEY, **values)
    after = kept(row, judge(_GOOD))
    assert (after.status, after.last_checked_at) == (row.status, None)


def test_of_another_tenants_connection_nothing_is_kept(alice: User, bob: User) -> None:
    row = make_connection(alice, ALICE_KEY)
    assert kept(row, _REFUSED, user=bob).status == "ok"
