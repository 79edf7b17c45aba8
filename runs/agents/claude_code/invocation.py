"""The command line and the variables of a headless Claude Code. Each stands for a run that hung, leaked or refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

EFFORTS = ("low", "medium", "high", "xhigh", "max")
REQUEST_RETRIES = 5
# "Bash", "Bash(git *)", "mcp__server__tool": as the command line takes it. Never an option, never two in one.
TOOL = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:\([^()\x00-\x1f]{1,200}\))?\Z")
# The service's own search and the client's fetching: what a model-only sandbox forbids anyway.
WEB_TOOLS = ("WebFetch", "WebSearch")

# Starts Claude Code from the first of the directories that is really there: a local sandbox without a file system of
# its own shows a mount under its path on the host. The instructions come by standard input: an argument has a limit.
SCRIPT = (
    'a=$1; b=$2; shift 2; [ -x "$a/claude" ] || a=$b; '
    'mkdir -p "$CLAUDE_CONFIG_DIR" && exec "$a/claude" "$@" < "$ONESHOT_INSTRUCTIONS_FILE"'
)


def argv(*, roots: tuple[str, str], model: str, session_id: str, settings: Mapping[str, Any]) -> list[str]:
    """Return the command line. `roots` are where the package may be seen inside."""
    line = ["sh", "-c", SCRIPT, "sh", *roots, "--print", "--output-format", "stream-json", "--verbose"]
    # The container is the sandbox: there is nobody to ask for permission.
    line += ["--dangerously-skip-permissions", "--session-id", session_id]
    # A repository's own MCP servers would be started unasked; most need a network, and some never answer.
    line += [] if settings.get("project_mcp") else ["--strict-mcp-config"]
    line += ["--model", model] if model else []
    if effort := settings.get("reasoning_effort"):
        line += ["--effort", effort]
    if turns := settings.get("max_turns"):
        line += ["--max-turns", str(turns)]
    if text := settings.get("append_system_prompt"):
        line += [f"--append-system-prompt={text}"]
    if tools := settings.get("tools"):
        line += [f"--tools={','.join(tools)}"]
    denied = [*settings.get("disallowed_tools", ()), *(() if settings.get("web_search") else WEB_TOOLS)]
    line += [f"--disallowed-tools={','.join(dict.fromkeys(denied))}"] if denied else []
    return line


def environment(
    *, config_dir: str, base_url: str, token: str, model: str, settings: Mapping[str, Any]
) -> dict[str, str]:
    """Return the variables. `base_url` is the door, as far as before /v1, which Claude Code adds itself."""
    env = {
        "CLAUDE_CONFIG_DIR": config_dir,
        "ANTHROPIC_BASE_URL": base_url,
        "ANTHROPIC_API_KEY": token,
        # Telemetry, updates and error reports have no way out, and would be waited for.
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        # The model that a run names is the one that works: neither its successor nor one that refuses less.
        "CLAUDE_CODE_DISABLE_LEGACY_MODEL_REMAP": "1",
        "CLAUDE_CODE_DISABLE_REFUSAL_FALLBACK": "1",
        # Root is refused otherwise, as it is in some sandboxes; exactly this value.
        "IS_SANDBOX": "1",
        "CLAUDE_CODE_MAX_RETRIES": str(settings.get("request_retries", REQUEST_RETRIES)),
    }
    # Side errands go to another model by default, which a service elsewhere need not have.
    if small := settings.get("small_model") or (model if settings.get("service", {}).get("base_url") else ""):
        env["ANTHROPIC_DEFAULT_HAIKU_MODEL"] = small
    if (thinking := settings.get("thinking_tokens")) is not None:
        env["MAX_THINKING_TOKENS"] = str(thinking)
    if (answer := settings.get("max_output_tokens")) is not None:
        env["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] = str(answer)
    return env


def effort(value: Any) -> str:
    """A reasoning effort that Claude Code knows; it silently ignores any other. Raises ValueError."""
    if value not in EFFORTS:
        raise ValueError(f"It must be one of {', '.join(EFFORTS)}.")
    return str(value)


def tools(value: Any) -> list[str]:
    """A list of tools, as Claude Code names them. Raises ValueError."""
    if not isinstance(value, list) or not all(isinstance(name, str) and TOOL.match(name) for name in value):
        raise ValueError('It must be a list of tools, such as ["Bash", "Edit", "Read"].')
    return value
