"""Django settings: one file, every value from the environment (desproject/config.py checks them)."""

import os
import sys
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from corsheaders.defaults import default_headers
from django.core.management.utils import get_random_secret_key
from django.templatetags.static import static

from desproject.config import BASE_DIR, load
from desproject.lib.log import configure_logging
from desproject.private_redis import socket_path

# These make or need no stored secret: they may run before there is a master key.
KEYLESS_COMMANDS = {"generate_master_key", "simexchange", "demo", "help", "--help", "--version", "version"}

CONFIG, KEYRING, FEATURE_STAGES = load(dict(os.environ), keyless=len(sys.argv) > 1 and sys.argv[1] in KEYLESS_COMMANDS)

DEBUG = CONFIG.debug
DATA_DIR: Path = CONFIG.data_dir
ROLE = CONFIG.role
SECRET_KEY = CONFIG.secret_key or (
    KEYRING.derive("django.secret_key").hex() if KEYRING else get_random_secret_key()
)
ALLOWED_HOSTS = CONFIG.allowed_hosts
ROOT_URLCONF = "desproject.urls"
ASGI_APPLICATION = "desproject.asgi.application"
AUTH_USER_MODEL = "accounts.User"
# E-mail is unique among living users, whatever its case: a conditional constraint, which the check can't see.
SILENCED_SYSTEM_CHECKS = ["auth.E003", "auth.W004"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    # Before channels: it gives `runworker` its own start-up.
    "connections",
    "channels",
    "rest_framework",
    "corsheaders",
    "csp",
    "django_filters",
    "django_q",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "desproject",
    "accounts",
    "audit",
    "risk",
    "trading",
]

# Headers first: whatever answers below them (static files, redirects, refusals, errors) gets them too.
MIDDLEWARE = [
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "desproject.content_policy.ContentPolicyMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "desproject.rate_limits.RateLimitMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "accounts.browser_sessions.DeviceSessionMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def _database(url: str) -> dict[str, Any]:
    parts = urlsplit(url or f"sqlite:///{DATA_DIR / 'des.sqlite3'}")
    if parts.scheme == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": unquote(parts.path[1:]),
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                # FULL: a committed order survives a power cut, not only a killed process.
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
            },
            # On disk, so that the worker threads of a test see the same database as the test.
            "TEST": {"NAME": str(DATA_DIR / f"test-{os.getpid()}.sqlite3")},
        }
    options: dict[str, Any] = {"connect_timeout": CONFIG.db_connect_timeout, **dict(parse_qsl(parts.query))}
    pooled = ROLE == "web"
    if pooled:
        # Only the web process may pool: django-q's forked workers would share the pool's sockets.
        options["pool"] = {
            "min_size": min(CONFIG.db_min_connections, CONFIG.db_max_connections),
            "max_size": CONFIG.db_max_connections,
            "max_lifetime": CONFIG.db_max_conn_lifetime,
            "max_idle": CONFIG.db_max_conn_idle,
            "timeout": CONFIG.db_connect_timeout,
        }
    return {
        "ENGINE": "desproject.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": 0 if pooled else None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
    }


DATABASES = {"default": _database(CONFIG.database_url)}

# The private Redis that `manage.py up` starts listens here when REDIS_URL is unset.
PRIVATE_REDIS_SOCKET = socket_path(DATA_DIR)
REDIS_URL = CONFIG.redis_url or f"unix://{PRIVATE_REDIS_SOCKET}"

CHANNEL_LAYERS: dict[str, Any] = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "des"},
    }
}
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL, "KEY_PREFIX": "des"}
}

Q_CLUSTER: dict[str, Any] = {
    "name": "default",
    "broker_class": "desproject.lib.task_queue.TaskQueue",
    "workers": CONFIG.task_workers,
    "timeout": 300,
    "retry": 360,
    "queue_limit": 4,
    "save_limit": -1,
    "ack_failures": True,
    "catch_up": False,
    "label": "Background tasks",
    "ALT_CLUSTERS": {
        # Engines: one long task a worker, never timed out, never recycled.
        "trading": {"workers": CONFIG.engine_processes, "queue_limit": 1, "scheduler": False, "recycle": 1_000_000},
    },
}

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.authentication.AccessTokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["desproject.lib.api.JsonBody"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_PAGINATION_CLASS": "desproject.lib.api.NewestFirst",
    "EXCEPTION_HANDLER": "desproject.lib.api.error_response",
    # What can be asked for, the schema says; OPTIONS is CORS' own, answered above.
    "DEFAULT_METADATA_CLASS": None,
    "UNAUTHENTICATED_USER": None,
    "PAGE_SIZE": 50,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "DES",
    "DESCRIPTION": "Multi-tenant crypto trading server",
    "VERSION": "0.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums", "desproject.api_schema.add_common_answers",
    ],
    "ENUM_NAME_OVERRIDES": {
        "ConnectionMode": "connections.models.Mode",
        "ConnectionStatus": "connections.models.ConnectionStatus",
        "InstanceMode": "trading.models.InstanceMode",
        "InstanceStatus": "trading.models.InstanceStatus",
        "KillLevel": "risk.models.KillLevel",
        "OrderKind": "trading.order_types.OrderKind",
        "PolicyLevel": "risk.models.PolicyLevel",
        "RiskType": "risk.models.RiskType",
        "Role": "accounts.models.Role",
    },
}
ACCESS_TOKEN_LIFETIME = timedelta(minutes=CONFIG.access_token_minutes)
REFRESH_TOKEN_LIFETIME = timedelta(days=CONFIG.refresh_token_days)

PASSWORD_HASHERS = ["accounts.hashers.Argon2idHasher"]
AUTHENTICATION_BACKENDS = ["accounts.backends.RecordedBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ["email"]},
    },
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]



def _mail(url: str) -> dict[str, Any]:
    """Django's settings of the mail server; without one mails go nowhere."""
    if not url:
        return {"EMAIL_BACKEND": "django.core.mail.backends.dummy.EmailBackend"}
    parts = urlsplit(url)
    usual = {"smtp": 25, "smtp+tls": 587, "smtps": 465}
    return {
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or usual[parts.scheme],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_TLS": parts.scheme == "smtp+tls",
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_TIMEOUT": 20,
    }


globals().update(_mail(CONFIG.email_url))
DEFAULT_FROM_EMAIL = SERVER_EMAIL = CONFIG.email_from

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "templates" / "static"]
WHITENOISE_USE_FINDERS = True
# Files are served from their source folders; collecting them is optional.
warnings.filterwarnings("ignore", "No directory at", UserWarning)

DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
CORS_ALLOWED_ORIGINS = CONFIG.cors_origins
# The API only, and with its tokens: no cookie of ours is another origin's to use.
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_HEADERS = [*default_headers, "idempotency-key"]
CORS_EXPOSE_HEADERS = ["Retry-After"]
LOGIN_URL = "/login"
# Pages carry the CSRF token themselves: no script needs to read a cookie.
CSRF_COOKIE_HTTPONLY = SESSION_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "trading.console.answers.csrf_failed"
# A browser stays logged in as long as a program that never refreshes its token.
SESSION_COOKIE_AGE = int(REFRESH_TOKEN_LIFETIME.total_seconds())
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = CONFIG.enforce_ssl
SECURE_SSL_REDIRECT = CONFIG.enforce_ssl
# Whoever asks whether this process lives asks it itself, without the proxy that ends TLS.
SECURE_REDIRECT_EXEMPT = [r"^api/health(/ready)?$"]
SECURE_HSTS_SECONDS = 31_536_000 if CONFIG.enforce_ssl else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = CONFIG.enforce_ssl
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if CONFIG.enforce_ssl else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "object-src": ["'none'"],
    },
}
UNFOLD = {
    "SITE_TITLE": "DES",
    "SITE_HEADER": "DES",
    "SHOW_HISTORY": True,
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("console/icon.svg")},
    ],
    "DASHBOARD_CALLBACK": "desproject.admin_index.dashboard",
    # The console's blue.
    "COLORS": {
        "primary": {
            "50": "#eff5ff", "100": "#dce8fd", "200": "#c0d6fb", "300": "#94bbf8", "400": "#6ea8ff", "500": "#5b93f5",
            "600": "#1a5fd4", "700": "#174fb0", "800": "#17428d", "900": "#183a72", "950": "#122447",
        }
    },
    "LOGIN": {"form": "accounts.admin_login.AdminLoginForm"},
}

DEFAULT_EXCEPTION_REPORTER_FILTER = "desproject.error_reports.ReticentFilter"
LOGGING_CONFIG = None
configure_logging(CONFIG.log_level, CONFIG.log_format, ROLE)
