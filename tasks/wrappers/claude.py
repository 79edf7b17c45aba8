"""How Claude Code is led through the gateway and given the task tools, for this process only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tasks.capture.mcp import tools
from tasks.capture.stanza import NAME, Stanza
from tasks.wrappers.gateway import Gateway
from tasks.wrappers.plan import Plan, own_proxy, spare

# Subcommands that ask no model, or manage what the options below would get in the way of.
PLAIN = {
    *("agents", "auth", "auto-mode", "doctor", "gateway", "install", "mcp", "plugin", "plugins", "project"),
    *("setup-token", "update", "upgrade", "ultrareview", "--version", "-v"),
}
# Where Claude Code's requests go elsewhere than to Anthropic's own address.
ELSEWHERE = (
    *("ANTHROPIC_BASE_URL", "ANTHROPIC_UNIX_SOCKET", "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX"),
    *("CLAUDE_CODE_USE_FOUNDRY", "CLAUDE_CODE_USE_GATEWAY", "CLAUDE_CODE_USE_MANTLE"),
)
PATH = "/anthropic"


def plan(args: list[str], env: dict[str, str], here: Path, gateway: Gateway, stanza: Stanza) -> Plan:
    """Return how to start Claude Code. Raises OSError or ValueError when what is needed cannot be read."""
    if args[:1] and args[0] in PLAIN:
        return Plan(args, env)
    home = Path(env.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude")
    settings = [_document(path) for path in _settings_files(home, here)]
    options = [] if _is_installed(env, here) else _tools(stanza)
    led = dict(env)
    notes = list(stanza.notes)
    if gateway.problem:
        notes.append(
            f"{gateway.problem}, so Claude Code starts without its requests being recorded; the task tools work."
        )
    elif proxy := own_proxy(env):
        notes.append(
            f"Your proxy {proxy.rpartition('@')[2]} is kept, and the gateway cannot go through it: the requests are "
            "not recorded; the trace will come from Claude Code's own transcript."
        )
    elif _goes_elsewhere(env, settings):
        bundle = gateway.trust(env.get("NODE_EXTRA_CA_CERTS", ""))
        led |= {"HTTPS_PROXY": gateway.url, "HTTP_PROXY": gateway.url, "NODE_EXTRA_CA_CERTS": bundle}
    else:
        led["ANTHROPIC_BASE_URL"] = gateway.url + PATH
        # It is Anthropic's own service behind that address; without this, some features would be switched off.
        led.setdefault("_CLAUDE_CODE_ASSUME_FIRST_PARTY_BASE_URL", "1")
        led = spare(led)
    return Plan([*options, *args], led, notes)


def _tools(stanza: Stanza) -> list[str]:
    # With "=", because both options would take the words behind them for further values: the user's prompt.
    servers = json.dumps({"mcpServers": {NAME: stanza.as_json()}})
    names = ",".join(f"mcp__{NAME}__{tool['name'].replace('.', '_')}" for tool in tools.TOOLS)
    return [f"--mcp-config={servers}", f"--allowedTools={names}"]


def _is_installed(env: dict[str, str], here: Path) -> bool:
    """Return whether the user or the project has the server already, as `oneshot capture install claude` does it."""
    base = env.get("CLAUDE_CONFIG_DIR")
    document = _document((Path(base) if base else Path.home()) / ".claude.json")
    known = [document, document.get("projects", {}).get(str(here), {}) if document else {}]
    return any(NAME in (entry.get("mcpServers") or {}) for entry in known if isinstance(entry, dict))


def _settings_files(home: Path, here: Path) -> list[Path]:
    return [home / "settings.json", here / ".claude" / "settings.json", here / ".claude" / "settings.local.json"]


def _document(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError as error:
        raise ValueError(f"{path} is no valid JSON: {error}") from None
    return document if isinstance(document, dict) else {}


def _goes_elsewhere(env: dict[str, str], settings: list[dict[str, Any]]) -> bool:
    environments = [env, *(document.get("env") or {} for document in settings)]
    return any(environment.get(name) for environment in environments for name in ELSEWHERE)
