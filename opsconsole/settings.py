"""Django's settings, all from the environment. Starts no server and opens no connection.

Without DATABASE_URL and REDIS_URL the addresses stay empty: `manage.py` has the embedded servers started
and sets both before Django loads this file.
"""

import os
import secrets
import sys
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF

from opsconsole import environment, providers, second_admin
from opsconsole.environment import number
from opsconsole.triggers import watched_folders, webhook_secrets
from runs.agents import misbehaviour

BASE_DIR = environment.REPOSITORY
try:
    environment.no_others()
    DATA_DIR = environment.data_dir()
    PORT = number("PORT", 8000, least=1, most=65535)
    PRODUCTION = environment.flag("OPSCONSOLE_PRODUCTION", default=False)
    # Files straight from the source folders, without collectstatic and hashed names: for tests.
    PLAIN_STATIC = environment.flag("OPSCONSOLE_PLAIN_STATIC", default=False)
    SERVERS_GIVEN = environment.servers_given()
    _database = environment.postgres_address(os.environ.get("DATABASE_URL") or "postgresql:///opsconsole")
    REDIS_URL = environment.redis_address(os.environ.get("REDIS_URL") or "redis://localhost:6379/0")

    _log_level = environment.one_of(
        "OPSCONSOLE_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    )
    # How many database connections one process may hold.
    _pool_max = number("OPSCONSOLE_DATABASE_POOL", 20, least=1, most=500)

    # What the engine reads (seconds, runs, milliseconds, threads).
    RUNS_LEASE_SECONDS = number("OPSCONSOLE_RUNS_LEASE_SECONDS", 15, least=2, most=3600)
    # A heart that beats slower than twice a lease lets go of every run that it performs.
    _slowest = min(60, RUNS_LEASE_SECONDS // 2)
    RUNS_HEARTBEAT_SECONDS = number("OPSCONSOLE_RUNS_HEARTBEAT_SECONDS", 1, least=1, most=_slowest)
    RUNS_SWEEP_SECONDS = number("OPSCONSOLE_RUNS_SWEEP_SECONDS", 5, least=1, most=3600)
    # A worker that is not heard of for so long hangs: it is killed by the supervisor, or soon ends itself. With less
    # than 12 one that waits for a database which is away would be taken for one that hangs.
    RUNS_SILENT_SECONDS = number("OPSCONSOLE_RUNS_SILENT_SECONDS", 20, least=3, most=3600)
    RUNS_INTAKE_LIMIT = number("OPSCONSOLE_RUNS_INTAKE_LIMIT", 500, least=0, most=1_000_000)
    RUNS_BUDGET_WARN_PERCENT = number("OPSCONSOLE_BUDGET_WARN_PERCENT", 80, least=1, most=100)
    RUNS_BUDGET_CHUNK = number("OPSCONSOLE_BUDGET_CHUNK", 64, least=0, most=1000)
    RUNS_TOKENS_OUT = number("OPSCONSOLE_TOKENS_OUT", 2048, least=1, most=1_000_000)
    # What a call of which nobody knows what it used is taken for after so long: all that was reserved for it.
    RUNS_UNCERTAIN_HOURS = number("OPSCONSOLE_UNCERTAIN_HOURS", 24, least=1, most=24 * 365)
    # When a breaker opens, and for how long (runs.guards.breaking.BreakerRule).
    RUNS_BREAKERS = {
        "consecutive": number("OPSCONSOLE_BREAKER_CONSECUTIVE", 5, least=1, most=100),
        "ratio": number("OPSCONSOLE_BREAKER_PERCENT", 50, least=1, most=100),
        "least": number("OPSCONSOLE_BREAKER_LEAST_CALLS", 10, least=1, most=100),
        "window": number("OPSCONSOLE_BREAKER_WINDOW_SECONDS", 60, least=1, most=3600),
        "slow_ms": number("OPSCONSOLE_BREAKER_SLOW_MS", 60_000, least=1, most=3_600_000),
        "try_slow_ms": number("OPSCONSOLE_BREAKER_TRY_SLOW_MS", 0, least=0, most=3_600_000),
        "slow_ratio": number("OPSCONSOLE_BREAKER_SLOW_PERCENT", 80, least=1, most=100),
        "open_seconds": number("OPSCONSOLE_BREAKER_OPEN_SECONDS", 30, least=1, most=3600),
    }
    RUNS_GATE_HOLD_MS = number("OPSCONSOLE_RUNS_GATE_HOLD_MS", 250, least=1, most=10_000)
    # A version that runs began with: must it stay as it is? While one writes workflows, it need not.
    RUNS_FREEZE_VERSIONS = environment.flag("OPSCONSOLE_FREEZE_VERSIONS", default=PRODUCTION)
    # How long a version's last worker may be away before people are asked about its runs.
    RUNS_VERSION_GRACE_SECONDS = number("OPSCONSOLE_VERSION_GRACE_SECONDS", 30, least=0, most=3600)
    # How long calls under way may go on in a worker that is asked to end; it is gone five seconds later at most.
    RUNS_DRAIN_SECONDS = number("OPSCONSOLE_DRAIN_SECONDS", 14, least=0, most=3600)
    RUNS_AGENT_THREADS = number("OPSCONSOLE_RUNS_AGENT_THREADS", 16, least=1, most=256)
    # How long a simulated agent thinks, on average.
    SIMULATED_SECONDS = number("OPSCONSOLE_SIMULATED_MS", 600, least=0, most=60_000) / 1000

    # What starts runs without a person needs: by WORKFLOW/NAME, the folder to watch and the secrets to check.
    WEBHOOK_SECRETS = webhook_secrets()
    _demo_folders = {"invoice_intake/dropped": DATA_DIR / "invoices" / "dropped"}
    WATCHED_FOLDERS = watched_folders({} if PRODUCTION else _demo_folders)

    # Real models: where they are reached, and what they cost.
    MODEL_PROVIDERS = providers.endpoints()
    MODEL_PRICES = providers.prices()
    # Up to which value one admin may raise a limit alone: "cost/day=$100, turns/run=50, retries/run=any". Above it a
    # second admin must agree, within so many hours.
    LIMITS_ALONE = second_admin.above()
    LIMITS_PROPOSAL_HOURS = number("OPSCONSOLE_SECOND_ADMIN_HOURS", 24, least=1, most=720)
    # Apps of one's own, beside those that ship.
    APPS = environment.apps()
except environment.Refused as why:
    sys.exit(str(why))

# What simulated agents do wrong, for demonstrations: "AGENT=MISBEHAVIOUR:SEED, …".
SIMULATED_MISBEHAVIOUR = os.environ.get("OPSCONSOLE_SIMULATED_MISBEHAVIOUR", "")
try:
    misbehaviour.parse(SIMULATED_MISBEHAVIOUR)
except ValueError as wrong:
    sys.exit(f"OPSCONSOLE_SIMULATED_MISBEHAVIOUR: {wrong}")


def _secret_key() -> str:
    given = os.environ.get("SECRET_KEY", "").strip()
    if given:
        return given
    if PRODUCTION:
        sys.exit(
            "OPSCONSOLE_PRODUCTION is set and SECRET_KEY is not: set SECRET_KEY to 50 random characters."
        )
    try:
        DATA_DIR.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        return environment.secret_file(DATA_DIR / "secret-key", secrets.token_urlsafe(50))
    except OSError as why:
        sys.exit(f"Cannot write to {DATA_DIR} ({why.strerror}); choose another DATA_DIR.")


SECRET_KEY = _secret_key()
DEBUG = False
ALLOWED_HOSTS = environment.words("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = environment.words("CSRF_TRUSTED_ORIGINS", [])

INSTALLED_APPS = [
    "opsconsole",
    "escalations",
    "runs",
    "opsconsole.shipped.invoice_intake",
    "opsconsole.shipped.refund_desk",
    "opsconsole.shipped.dependency_review",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "csp",
]

INSTALLED_APPS += [app for app in APPS if app not in INSTALLED_APPS]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "opsconsole.access.PageAccess",
    "django_htmx.middleware.HtmxMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "opsconsole.urls"
ASGI_APPLICATION = "opsconsole.asgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "escalations.views.frame.frame",
            ],
        },
    }
]

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _database.name,
        "USER": _database.user,
        "PASSWORD": _database.password,
        "HOST": _database.host,
        "PORT": _database.port,
        "ATOMIC_REQUESTS": False,
        "CONN_MAX_AGE": 0,
        # A connection that died with the server is replaced when it is taken from the pool.
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            # Given up soon and begun anew: by itself the pool would wait as long again as the server was away.
            "pool": {"min_size": 1, "max_size": _pool_max, "timeout": 10, "reconnect_timeout": 5},
            "connect_timeout": 5,
            "application_name": "opsconsole",
            # A process that stands still inside a transaction would keep its run's row for as long as it stands.
            # What a connection asks for a third time is planned no more: a third of a person's act and of a claim.
            "server_side_binding": True,
            "prepare_threshold": 2,
            "options": f"-c idle_in_transaction_session_timeout={RUNS_LEASE_SECONDS}s",
            **_database.options,
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {
        # The other layer drops every socket when Valkey restarts.
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        # The client's default read time-out of 5 s would end idle sockets.
        "CONFIG": {"hosts": [{"address": REDIS_URL, "socket_timeout": None}]},
    }
}

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    # Wrong passwords; a Valkey that is away or hangs must not keep anybody from signing in.
    "sign-ins": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "opsconsole:sign-ins",
        "OPTIONS": {"socket_timeout": 0.5, "socket_connect_timeout": 0.5},
    },
}

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

LOGIN_URL = "/sign-in"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/sign-in"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
if PRODUCTION:
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
    SECURE_HSTS_SECONDS = 31_536_000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "form-action": [SELF],
    }
}

STATIC_URL = "/static/"
STATIC_ROOT = Path(os.environ.get("STATIC_ROOT") or DATA_DIR / "static")
STATICFILES_DIRS = [folder for folder in [BASE_DIR / "static"] if folder.is_dir()]
WHITENOISE_USE_FINDERS = PLAIN_STATIC
WHITENOISE_ALLOW_ALL_ORIGINS = False
_static_storage = (
    "django.contrib.staticfiles.storage.StaticFilesStorage"
    if PLAIN_STATIC
    else "whitenoise.storage.CompressedManifestStaticFilesStorage"
)
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": _static_storage},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": _log_level},
    "loggers": {
        "django": {"handlers": [], "propagate": True},
        # These say every request at INFO, and whole prompts at DEBUG.
        **{name: {"level": "WARNING"} for name in ("httpx2", "httpcore2", "openai", "anthropic")},
    },
}
