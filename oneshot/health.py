"""Answers for whoever watches the server: does the process live, and can it do its work."""

import shutil

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache

# With less than this the next image, diff or log may not fit.
FREE_DISK_BYTES = 500_000_000
REDIS_TIMEOUT_S = 1.0


@never_cache
def live(request: HttpRequest) -> JsonResponse:
    """Answer while the process can answer."""
    return JsonResponse({"status": "ok"})


@never_cache
def ready(request: HttpRequest) -> JsonResponse:
    """Say for database, Redis and disk whether they work; status 503 when one does not."""
    checks = {"database": database(), "redis": redis_server(), "disk": disk()}
    down = [name for name, word in checks.items() if word != "ok"]
    document = {"status": "down" if down else "ok", "down": down, "checks": checks}
    response = JsonResponse(document, status=503 if down else 200)
    # Asked every few seconds, a 503 would fill the log with what the watcher knows already.
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def database() -> str:
    """Return "ok", or what is wrong in words that give nothing away."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM django_migrations")
            cursor.fetchone()
    except DatabaseError:
        return "does not answer"
    return "ok"


def redis_server() -> str:
    """Return "ok", or what is wrong in words that give nothing away."""
    try:
        with redis.from_url(
            settings.REDIS_URL, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S
        ) as server:
            server.ping()
    except (redis.RedisError, OSError):
        return "does not answer"
    return "ok"


def disk() -> str:
    """Return "ok", or that the disk of the data directory is nearly full or cannot be read."""
    try:
        free = shutil.disk_usage(settings.DATA_DIR).free
    except OSError:
        return "cannot be read"
    return "ok" if free >= FREE_DISK_BYTES else "nearly full"
