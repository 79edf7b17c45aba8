"""Settings of OneShot. Every one can be set by an environment variable or a `.env` file beside the data.

What each variable means is written in docs/configuration.md; a test holds that page to this file.
"""

import secrets
from importlib.util import find_spec
from pathlib import Path

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from dotenv import load_dotenv

from oneshot.embedded_redis import socket_path
from oneshot.env import env_bool, env_choice, env_float, env_int, env_list, env_secret, env_str

BASE_DIR = Path(__file__).resolve().parent.parent
load_dotenv(Path.cwd() / ".env")

# Everything OneShot writes lies under here: database, embedded Redis, content store, sandboxes, logs.
DATA_DIR = Path(env_str("ONESHOT_DATA_DIR", "var")).resolve()
DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)

DEBUG = env_bool("ONESHOT_DEBUG", False)


def _secret_key() -> str:
    """Return the configured key, or one made on first use and kept in the data directory."""
    if key := env_secret("ONESHOT_SECRET_KEY"):
        return key
    path = DATA_DIR / "secret_key"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(50), encoding="ascii")
    return path.read_text(encoding="ascii")


SECRET_KEY = _secret_key()

# A server that others can reach must say under which names: ONESHOT_HOSTS=oneshot.example.org
ALLOWED_HOSTS = env_list("ONESHOT_HOSTS", "localhost,127.0.0.1,[::1]")
SITE_URL = env_str("ONESHOT_URL", "http://127.0.0.1:8000").rstrip("/")
BEHIND_TLS = SITE_URL.startswith("https://")
CSRF_TRUSTED_ORIGINS = [SITE_URL] if BEHIND_TLS else []
if "*" in ALLOWED_HOSTS and not DEBUG:
    raise ImproperlyConfigured(
        "ONESHOT_HOSTS=* accepts any host name. Name the ones that people use, or set ONESHOT_DEBUG=1."
    )

INSTALLED_APPS = [
    "oneshot",
    "oneshot.accounts",
    "traces",
    "tasks",
    "runs",
    "benchmarks",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "django_rq",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "oneshot.middleware.security_headers",
    "oneshot.middleware.log_in_as_a_page",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "oneshot.accounts.middleware.first_password_must_change",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "oneshot.urls"
WSGI_APPLICATION = "oneshot.wsgi.application"

# In a checkout the folders stand at the top; an installed wheel carries them inside the package.
_PACKAGE = Path(__file__).resolve().parent
TEMPLATE_DIR = BASE_DIR / "templates" if (BASE_DIR / "templates" / "base.html").exists() else _PACKAGE / "_templates"
STATIC_DIR = BASE_DIR / "static" if (BASE_DIR / "static" / "oneshot.css").exists() else _PACKAGE / "_static"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [TEMPLATE_DIR],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "oneshot.context.page",
            ],
            "builtins": ["oneshot.templatetags.figures"],
        },
    }
]

DATABASES = {
    "default": dj_database_url.parse(
        env_secret("DATABASE_URL", f"sqlite:///{DATA_DIR / 'oneshot.sqlite3'}"), conn_max_age=60
    )
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # IMMEDIATE: two writers wait for each other instead of failing with "database is locked" on upgrade.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-32000;"
        " PRAGMA mmap_size=268435456;",
    }
else:
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "accounts.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "overview"
LOGOUT_REDIRECT_URL = "login"
SIGN_UP = env_bool("ONESHOT_SIGN_UP", False)

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = BEHIND_TLS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_HSTS_SECONDS = 31536000 if BEHIND_TLS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env_bool("ONESHOT_BEHIND_PROXY", False) else None
X_FRAME_OPTIONS = "DENY"

LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
# The API's reference needs script and style of django-ninja. As an app it would be imported by every command, which
# costs each a fifth of a second; so its folder is named without importing it.
_NINJA = find_spec("ninja")
_NINJA_DIRS = [Path(place) / "static" / "ninja" for place in _NINJA.submodule_search_locations or ()] if _NINJA else []
STATICFILES_DIRS = [STATIC_DIR, *(("ninja", place) for place in _NINJA_DIRS)]
# Files are served from where they lie, so a first start needs no collectstatic.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_MAX_AGE = 0 if DEBUG else 3600

# The row is the truth and Redis carries ids; with no REDIS_URL, `up` runs a server of its own on this socket.
EMBEDDED_REDIS_SOCKET = socket_path(DATA_DIR)
REDIS_URL = env_secret("REDIS_URL", f"unix://{EMBEDDED_REDIS_SOCKET}?db=0")
RQ_QUEUES = {
    name: {"URL": REDIS_URL, "DEFAULT_TIMEOUT": -1, "SERIALIZER": "rq.serializers.JSONSerializer"}
    for name in ("build", "runs", "judge", "default")
}
RQ_SHOW_ADMIN_LINK = False

# Sandboxes and runs.
SANDBOX = env_choice("ONESHOT_SANDBOX", "auto", ("auto", "docker", "local"))
BASE_IMAGE = env_str("ONESHOT_BASE_IMAGE", "debian:bookworm-slim")
DOCKER_HOST = env_str("ONESHOT_DOCKER_HOST")
EXTRA_CA = env_str("ONESHOT_EXTRA_CA")
PIP_INDEX_URL = env_secret("ONESHOT_PIP_INDEX_URL")
PIP_EXTRA_INDEX_URL = env_secret("ONESHOT_PIP_EXTRA_INDEX_URL")
NPM_REGISTRY = env_secret("ONESHOT_NPM_REGISTRY")
APT_MIRROR = env_str("ONESHOT_APT_MIRROR")
BUILD_TIMEOUT_S = env_int("ONESHOT_BUILD_TIMEOUT_S", 1800, least=1)
AGENT_TIMEOUT_S = env_int("ONESHOT_AGENT_TIMEOUT_S", 1800, least=1)
TEST_TIMEOUT_S = env_int("ONESHOT_TEST_TIMEOUT_S", 1800, least=1)
MEMORY_MB = env_int("ONESHOT_MEMORY_MB", 4096, least=64)
CPUS = env_float("ONESHOT_CPUS", 2.0, least=0.1)
PIDS = env_int("ONESHOT_PIDS", 512, least=16)
DISK_MB = env_int("ONESHOT_DISK_MB", 10240, least=16)
CODEX_HOME_DIR = env_str("ONESHOT_CODEX_DIR")
CLAUDE_CODE_DIR = env_str("ONESHOT_CLAUDE_CODE_DIR")
WORKERS = env_int("ONESHOT_WORKERS", 2, least=1)

# A running row that has not been heard of for LEASE_S is taken back; see runs/sweep.py.
HEARTBEAT_S = env_float("ONESHOT_HEARTBEAT_S", 5.0, least=0.1)
LEASE_S = env_float("ONESHOT_LEASE_S", 20.0, least=0.5)
MAX_TRIES = env_int("ONESHOT_MAX_TRIES", 3, least=1)
RETRY_BASE_S = env_float("ONESHOT_RETRY_BASE_S", 5.0)
SWEEP_S = env_float("ONESHOT_SWEEP_S", 5.0, least=0.1)

# A judge counts as calibrated when it agrees with people on enough answers: κ's lower bound, and pairs of answers.
JUDGE_LEAST_KAPPA = env_float("ONESHOT_JUDGE_KAPPA", 0.6)
JUDGE_LEAST_LABELS = env_int("ONESHOT_JUDGE_LABELS", 50, least=1)

# The gateway between agents and models; see docs/gateway.md.
GATEWAY = env_choice("ONESHOT_GATEWAY", "auto", ("auto", "off"))
GATEWAY_HOST = env_str("ONESHOT_GATEWAY_HOST", "127.0.0.1")
GATEWAY_PORT = env_int("ONESHOT_GATEWAY_PORT", 18080, least=1)
GATEWAY_ENV_DIR = env_str("ONESHOT_GATEWAY_ENV_DIR")
PROVIDERS_FILE = env_str("ONESHOT_PROVIDERS_FILE")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": env_str("ONESHOT_LOG_LEVEL", "INFO").upper()},
    "loggers": {
        "rq": {"level": "WARNING"},
        "django.request": {"level": "ERROR"},
        "docker": {"level": "WARNING"},
        "urllib3": {"level": "WARNING"},
        "httpx2": {"level": "WARNING"},
    },
}
