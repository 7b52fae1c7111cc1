"""The page that traders keep open."""

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache

from accounts.models import User
from accounts.tenancy import tenant_scope
from connections.selectors import connections
from risk.selectors import active_switches
from trading.catalogue import catalogue


@never_cache
def desk(request: HttpRequest) -> HttpResponse:
    """The desk of the logged-in user, or the way to the log-in page."""
    if request.method not in {"GET", "HEAD"}:
        return HttpResponseNotAllowed(["GET"])
    user = request.user
    if not isinstance(user, User):
        return redirect("/login")
    with tenant_scope(user.pk):
        context = {
            "user": user, "role": user.get_role_display(), "connections": list(connections()),
            "catalogue": catalogue(), "kill_switches": active_switches(),
        }
        return render(request, "console/desk.html", context)
