"""Every route of the site."""

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.generic import TemplateView
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.routers import SimpleRouter

from accounts import api as accounts
from audit.api import AuditLogsView
from connections.api import ConnectionViewSet
from desproject.health_api import LivenessView, ReadinessView
from desproject.lib import api
from risk import api as risk
from trading import api as trading

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("connections", ConnectionViewSet, basename="connection")
router.register("strategy-instances", trading.InstanceViewSet, basename="strategy-instance")
router.register("orders", trading.OrderViewSet, basename="order")

api_urls = [
    path("register", accounts.RegisterView.as_view()),
    path("login", accounts.LoginView.as_view()),
    path("logout", accounts.LogoutView.as_view()),
    path("token/refresh", accounts.RefreshView.as_view()),
    path("password/change", accounts.PasswordChangeView.as_view()),
    path("me", trading.MeView.as_view()),
    path("strategies", trading.StrategiesView.as_view()),
    path("prices", trading.PricesView.as_view()),
    path("trades", trading.TradesView.as_view()),
    path("positions", trading.PositionsView.as_view()),
    path("balances", trading.BalancesView.as_view()),
    path("signals", trading.SignalsView.as_view()),
    path("risk/policy", risk.PolicyView.as_view()),
    path("risk/metrics", risk.MetricsView.as_view()),
    path("kill-switch", risk.KillSwitchView.as_view()),
    path("audit-logs", AuditLogsView.as_view()),
    path("health", LivenessView.as_view()),
    path("health/ready", ReadinessView.as_view()),
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path("docs", SpectacularSwaggerView.as_view(url_name="schema")),
    *router.urls,
    re_path("^(?P<rest>.*)$", api.no_such_path),
]

urlpatterns = [
    path("", TemplateView.as_view(template_name="console.html"), name="console"),
    path("api/", include(api_urls)),
    path("admin/", admin.site.urls),
]

handler400 = api.bad_request
handler403 = api.permission_denied
handler404 = api.page_not_found
handler500 = api.server_error
