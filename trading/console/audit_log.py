"""What was done in the user's name."""

from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from rest_framework.request import Request

from accounts.models import User
from audit.models import AuditLog
from desproject.lib.api import NewestFirst
from trading.console.answers import tenant_page


@tenant_page("GET")
def audit_log(request: HttpRequest, user: User) -> HttpResponse:
    """The newest events, a page at a time, by the API's own cursors."""
    paginator = NewestFirst()
    rows: list[AuditLog] | None = paginator.paginate_queryset(AuditLog.objects.filter(user=user), Request(request))
    context = {
        "rows": rows, "newer": _query(paginator.get_previous_link()), "older": _query(paginator.get_next_link()),
    }
    return render(request, "console/account/audit_log.html", context)


def _query(link: str | None) -> str:
    return f"?{urlsplit(link).query}" if link else ""
