"""The command line of a headless Codex run. Every flag here stands for a run that hung, leaked or did nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

TOKEN_ENV = "ONESHOT_MODEL_TOKEN"  # noqa: S105 - a name
PROVIDER = "oneshot"
CONFIG_KEY = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\Z")
REQUEST_RETRIES = 3
STREAM_RETRIES = 4
STREAM_IDLE_S = 300.0

# Side traffic, and the endless wait for a network that a model-only sandbox does not have.
DISABLED = ("unbounded_connection_retries", "plugins", "remote_plugin", "apps")

# Starts Codex from the first of the directories that is really there: a local sandbox without a file system of its
# own shows a mount under its path on the host. The instructions come from a file: an argument has a length limit, and
# an open pipe as standard input would be waited for.
SCRIPT = (
    'a=$1; b=$2; shift 2; [ -x "$a/bin/codex" ] || a=$b; '
    'mkdir -p "$CODEX_HOME" && exec "$a/bin/codex" exec "$@" - < "$ONESHOT_INSTRUCTIONS_FILE"'
)


def argv(
    *,
    roots: tuple[str, str],
    workdir: str,
    last_message: str,
    catalog: str,
    base_url: str,
    model: str,
    settings: Mapping[str, Any],
) -> list[str]:
    """Return the command line. `roots` are where Codex's package may be seen inside, `catalog` a path or ""."""
    provider = {
        "name": settings.get("provider", PROVIDER),
        "base_url": base_url,
        "wire_api": "responses",
        "env_key": TOKEN_ENV,
        "request_max_retries": settings.get("request_retries", REQUEST_RETRIES),
        "stream_max_retries": settings.get("stream_retries", STREAM_RETRIES),
        "stream_idle_timeout_ms": int(settings.get("stream_idle_s", STREAM_IDLE_S) * 1000),
        "supports_websockets": False,
    }
    config: dict[str, Any] = dict(settings.get("config", {}))
    config |= {
        "model_provider": PROVIDER,
        f"model_providers.{PROVIDER}": provider,
        "web_search": "live" if settings.get("web_search") else "disabled",
        "check_for_update_on_startup": False,
        "analytics.enabled": False,
        # A login shell reads /etc/profile, which in most images puts PATH back and hides the project's own tools.
        "allow_login_shell": False,
        "shell_environment_policy.exclude": [TOKEN_ENV],
    }
    if effort := settings.get("reasoning_effort"):
        config["model_reasoning_effort"] = effort
    if catalog:
        config["model_catalog_json"] = catalog
    line = ["sh", "-c", SCRIPT, "sh", *roots]
    # The container is the sandbox: Codex's own cannot be made inside of one.
    line += ["--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check", "--json"]
    line += ["--output-last-message", last_message, "--cd", workdir]
    line += ["--model", model] if model else []
    for feature in DISABLED:
        line += ["--disable", feature]
    for key, value in config.items():
        line += ["--config", f"{key}={toml(value)}"]
    return line


def toml(value: Any) -> str:
    """Return a value as TOML writes it on one line. Raises ValueError for what TOML does not have."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{toml(str(key))} = {toml(inner)}' for key, inner in value.items())}}}"
    raise ValueError(f"{value!r} cannot be written as TOML.")


def config_table(value: Any) -> dict[str, Any]:
    """Read further settings of Codex: dotted name → value. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError("It must be a table.")
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        if not CONFIG_KEY.match(str(key)):
            raise ValueError(f"{key!r} is no name of a setting of Codex.")
        toml(inner)
        flat[key] = inner
    return flat
