"""How Codex is led through the gateway and given the task tools, by options before the user's own.

Codex 0.169 ignores OPENAI_BASE_URL; `openai_base_url` reaches its built-in service for both kinds of log-in. A service
of the user's own choice is left as it is, and its requests are led through the forward door.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from tasks.capture.stanza import GRACE_MS, NAME, STARTUP_S, TOOL_S, Stanza
from tasks.wrappers.gateway import Gateway
from tasks.wrappers.plan import PROXIES, Plan, own_proxy, spare

# Subcommands that ask no model. What is set up for the others would only be in their way.
PLAIN = {
    *("login", "logout", "mcp", "plugin", "completion", "update", "doctor", "sandbox", "debug", "apply", "a", "help"),
    *("archive", "unarchive", "delete", "migrate-rollouts", "migrate-nfs-db", "features", "--version", "-V"),
}
OPENAI, CHATGPT, OTHER = "openai", "chatgpt", "other"
PATHS = {OPENAI: "/openai/v1", CHATGPT: "/chatgpt/backend-api/codex"}


def plan(args: list[str], env: dict[str, str], here: Path, gateway: Gateway, stanza: Stanza) -> Plan:
    """Return how to start Codex. Raises OSError or ValueError when the user's own configuration cannot be read."""
    if args[:1] and args[0] in PLAIN:
        return Plan(args, env)
    home = Path(env.get("CODEX_HOME") or Path.home() / ".codex")
    configs = _configurations(home, here, args)
    options = _tools(stanza, args, configs)
    if gateway.problem:
        note = f"{gateway.problem}, so Codex starts without its requests being recorded; the task tools work."
        return Plan([*options, *args], env, [*stanza.notes, note])
    service = _service(args, env, home, configs)
    if proxy := own_proxy(env):
        note = (
            f"Your proxy {_without_password(proxy)} is kept, and the gateway cannot go through it: the requests are "
            "not recorded; the trace will come from Codex' own session file."
        )
        return Plan([*options, *args], env, [*stanza.notes, note])
    if service != OTHER:
        options += ["-c", f"openai_base_url={_toml(gateway.url + PATHS[service])}"]
        return Plan([*options, *args], spare(env), list(stanza.notes))
    bundle = gateway.trust(env.get("CODEX_CA_CERTIFICATE", ""), env.get("SSL_CERT_FILE", ""))
    led = {**env, "HTTPS_PROXY": gateway.url, "HTTP_PROXY": gateway.url, "CODEX_CA_CERTIFICATE": bundle}
    return Plan([*options, *_shells_without_proxy(args, configs), *args], led, list(stanza.notes))


def _configurations(home: Path, here: Path, args: list[str]) -> list[dict[str, Any]]:
    """Return the user's configuration files, the strongest last."""
    paths = [home / "config.toml"]
    if profile := _value_of(args, "-p", "--profile"):
        paths.append(home / f"{Path(profile).name}.config.toml")
    paths += [folder / ".codex" / "config.toml" for folder in reversed((here, *here.parents)) if folder != home.parent]
    found = []
    for path in paths:
        try:
            found.append(tomllib.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path} is no valid TOML: {error}") from None
    return found


def _tools(stanza: Stanza, args: list[str], configs: list[dict[str, Any]]) -> list[str]:
    """Return the options that add the MCP server, unless it is there already."""
    options: list[str] = []
    if not any(NAME in config.get("mcp_servers", {}) for config in configs) and not _overrides(
        args, "mcp_servers.oneshot"
    ):
        server = (
            f"{{command={_toml(stanza.command)},args={_toml(stanza.args)},env={_toml(stanza.env)},"
            f'startup_timeout_sec={STARTUP_S},tool_timeout_sec={TOOL_S},default_tools_approval_mode="approve"}}'
        )
        options += ["-c", f"mcp_servers.{NAME}={server}"]
    grace = "mcp_optional_startup_grace_ms"
    if not any(grace in config for config in configs) and not _overrides(args, grace):
        options += ["-c", f"{grace}={GRACE_MS}"]
    return options


def _service(args: list[str], env: dict[str, str], home: Path, configs: list[dict[str, Any]]) -> str:
    """Return which service Codex will ask: OPENAI, CHATGPT, or OTHER for what cannot be led by a base URL."""
    if "--oss" in args or _value_of(args, "", "--local-provider"):
        return OTHER
    if any(_overrides(args, name) for name in ("model_provider", "openai_base_url", "model_providers")):
        return OTHER
    for config in configs:
        if config.get("model_provider", OPENAI) != OPENAI or "openai_base_url" in config:
            return OTHER
    if env.get("CODEX_API_KEY"):
        return OPENAI
    try:
        auth = json.loads((home / "auth.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        # Logged in through the system's keyring, or not yet: either service may be asked.
        return OTHER
    mode = auth.get("auth_mode") if isinstance(auth, dict) else None
    if mode == "apikey" or (mode is None and auth.get("OPENAI_API_KEY")):
        return OPENAI
    return CHATGPT if mode == "chatgpt" or auth.get("tokens") else OTHER


def _shells_without_proxy(args: list[str], configs: list[dict[str, Any]]) -> list[str]:
    """Return the options that keep the forward door out of the commands which the agent runs."""
    if _overrides(args, "shell_environment_policy"):
        return []
    policy: dict[str, Any] = {}
    for config in configs:
        policy |= config.get("shell_environment_policy", {})
    names = [*policy.get("exclude", []), *PROXIES, "CODEX_CA_CERTIFICATE"]
    return ["-c", f"shell_environment_policy.exclude={_toml(names)}"]


def _overrides(args: list[str], key: str) -> bool:
    """Return whether the user's own options set this key, or one below it."""
    values = []
    for index, word in enumerate(args):
        if word in ("-c", "--config"):
            values += args[index + 1 : index + 2]
        elif word.startswith("--config="):
            values.append(word.partition("=")[2])
        elif word.startswith("-c") and len(word) > 2:
            values.append(word[2:].removeprefix("="))
    names = [value.partition("=")[0].strip() for value in values]
    return any(name == key or name.startswith(f"{key}.") for name in names)


def _value_of(args: list[str], short: str, long: str) -> str:
    for index, word in enumerate(args):
        if word in (short, long) and word:
            return args[index + 1] if index + 1 < len(args) else ""
        if word.startswith(f"{long}="):
            return word.partition("=")[2]
    return ""


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{_toml(key)}={_toml(item)}" for key, item in value.items()) + "}"
    # JSON's strings and lists are TOML's too, but for the escapes of astral characters, which are left as they are.
    return json.dumps(value, ensure_ascii=False)


def _without_password(url: str) -> str:
    return url.rpartition("@")[2] or url
