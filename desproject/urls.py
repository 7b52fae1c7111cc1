"""Every route of the site."""

from django.contrib import admin
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.routers import SimpleRouter

from accounts import admin_login
from accounts import api as accounts
from audit.api import AuditExportView, AuditLogsView
from connections.api import ConnectionViewSet
from desproject.health_api import LivenessView, ReadinessView
from desproject.lib import api
from desproject.metrics_api import InstallationMetricsView, LatencyMetricsView
from risk import api as risk
from risk import events_api as risk_events
from trading import api as trading
from trading import charts_api as charts
from trading.leak_api import LeakedKeyView
from trading.leverage_api import LeverageView
from trading.reconciliation_api import ReconcileView, ReconciliationsView

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
    path("password/reset", accounts.PasswordResetView.as_view()),
    path("password/reset/confirm", accounts.PasswordResetConfirmView.as_view()),
    path("disclosure", accounts.DisclosureView.as_view()),
    path("disclosure/accept", accounts.DisclosureAcceptView.as_view()),
    path("users", accounts.UsersView.as_view()),
    path("users/<uuid:id>", accounts.UserView.as_view()),
    path("otp/enrol", accounts.OtpEnrolView.as_view()),
    path("otp/confirm", accounts.OtpConfirmView.as_view()),
    path("otp/disable", accounts.OtpDisableView.as_view()),
    path("devices", accounts.DevicesView.as_view()),
    path("devices/<uuid:id>", accounts.DeviceView.as_view()),
    path("me", trading.MeView.as_view()),
    path("me/delete", accounts.DeleteMeView.as_view()),
    path("connections/<uuid:id>/leaked", LeakedKeyView.as_view()),
    path("connections/<uuid:id>/leverage", LeverageView.as_view()),
    path("connections/<uuid:id>/reconcile", ReconcileView.as_view()),
    path("reconciliations", ReconciliationsView.as_view()),
    path("strategies", trading.StrategiesView.as_view()),
    path("prices", trading.PricesView.as_view()),
    path("candles", charts.CandlesView.as_view()),
    path("equity", charts.EquityView.as_view()),
    path("trades", trading.TradesView.as_view()),
    path("positions", trading.PositionsView.as_view()),
    path("balances", trading.BalancesView.as_view()),
    path("signals", trading.SignalsView.as_view()),
    path("risk/policy", risk.PolicyView.as_view()),
    path("risk/metrics", risk.MetricsView.as_view()),
    path("risk/metrics/summed", risk.SummedMetricsView.as_view()),
    path("risk/events", risk_events.RiskEventsView.as_view()),
    path("risk/events/report", risk_events.RiskReportView.as_view()),
    path("risk/events/<uuid:id>", risk_events.RiskEventView.as_view()),
    path("risk/headroom", charts.HeadroomView.as_view()),
    path("kill-switch", risk.KillSwitchView.as_view()),
    path("audit-logs", AuditLogsView.as_view()),
    path("audit-logs/export", AuditExportView.as_view()),
    path("health", LivenessView.as_view()),
    path("health/ready", ReadinessView.as_view()),
    path("metrics", InstallationMetricsView.as_view()),
    path("metrics/latency", LatencyMetricsView.as_view()),
    path("schema", SpectacularAPIView.as_view(), name="schema"),
    path("docs", SpectacularSwaggerSplitView.as_view(url_name="schema")),
    *router.urls,
    re_path("^(?P<rest>.*)$", api.no_such_path),
]

urlpatterns = [
    path("", include("trading.console.urls")),
    path("api/", include(api_urls)),
    path("admin/login/", admin_login.log_in),
    path("admin/", admin.site.urls),
]

handler400 = api.bad_request
handler403 = api.permission_denied
handler404 = api.page_not_found
handler500 = api.server_error
