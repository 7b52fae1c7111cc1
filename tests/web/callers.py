"""Every caller of a verdict (``verdicts``) sends the same request, each as if it were the first."""

from collections.abc import Callable, Mapping
from typing import Any

from django.apps import apps
from django.db import transaction

from accounts.models import User
from accounts.tenancy import everyone
from tests.web.rows import Owned
from tests.web.verdicts import CALLERS, Verdict


def everything_stored() -> dict[str, list[dict[str, Any]]]:
    """All rows of our own tables but those that a request itself leaves behind."""
    with everyone():
        return {
            model.__name__: [
                {field.attname: getattr(row, field.attname) for field in model._meta.concrete_fields}
                for row in model._default_manager.order_by("pk")
            ]
            for app in ("accounts", "audit", "connections", "risk", "trading")
            for model in apps.get_app_config(app).get_models()
        }


def require(verdict: Verdict, alices: Owned, clients: Mapping[str, Any], send: Callable[[Any], Any]) -> None:
    """Each caller gets the verdict's status, who isn't named in ``shown_to`` sees nothing of alice's, and who is turned
    away changes nothing. ``clients`` are by caller; the deleted one has the owner's."""
    statuses: dict[str, int] = {}
    shown_to: set[str] = set()
    changed_by: set[str] = set()
    before = everything_stored()
    for caller in CALLERS:
        with transaction.atomic():
            if caller == "deleted":
                User.objects.filter(pk=alices.user.pk).update(is_deleted=True)
                before = everything_stored()
            answer = send(clients["owner" if caller == "deleted" else caller])
            statuses[caller] = answer.status_code
            text = answer.content.decode()
            if any(secret in text for secret in (*alices.ids, alices.user.email)):
                shown_to.add(caller)
            if answer.status_code in verdict.turned_away and everything_stored() != before:
                changed_by.add(caller)
            transaction.set_rollback(True)
    assert statuses == {caller: getattr(verdict, caller) for caller in CALLERS}, statuses
    assert shown_to <= verdict.shown_to, shown_to
    assert not changed_by, changed_by
