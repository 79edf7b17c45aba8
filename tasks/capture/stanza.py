"""How an agent starts the MCP server: the command, its arguments and its environment. Standard library only."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

NAME = "oneshot"
# A cold start on a busy machine; the first answer usually takes a tenth of a second.
STARTUP_S = 20
# `repo.end_task.v1` on a very large repository.
TOOL_S = 600
# How long Codex may wait for its servers before its first request; its own second is short on a busy machine.
GRACE_MS = 5000


@dataclass(frozen=True)
class Stanza:
    """What to write into an agent's configuration. `notes` tell a person what was left out, and what to do."""

    command: str
    args: list[str]
    env: dict[str, str]
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """Return the entry of Claude Code's mcpServers.

        Four small tools need not be hidden behind a search; and Claude Code waits for servers that are always loaded.
        """
        return {
            "type": "stdio",
            "command": self.command,
            "args": self.args,
            "env": self.env,
            "timeout": TOOL_S * 1000,
            "alwaysLoad": True,
        }


def stanza(data_dir: Path) -> Stanza:
    """Return how this installation's server is started by another program, from any directory.

    Secrets are never put in: a configuration file of an agent is copied, shared and committed.
    """
    env = {"ONESHOT_DATA_DIR": str(data_dir)}
    notes: list[str] = []
    if value := os.environ.get("ONESHOT_URL", "").strip():
        env["ONESHOT_URL"] = value
    # Codex passes few variables on. By the last two the session's own files are found.
    for name in ("DATABASE_URL_FILE", "CODEX_HOME", "CLAUDE_CONFIG_DIR"):
        if value := os.environ.get(name, "").strip():
            env[name] = os.path.abspath(value)  # noqa: PTH100 - links stay links
    if url := os.environ.get("DATABASE_URL", "").strip():
        if _holds_a_password(url):
            notes.append(
                "DATABASE_URL holds a password, so it was not written down for the agent. "
                f"Put it into {data_dir / '.env'}, or name a file with DATABASE_URL_FILE."
            )
        else:
            env["DATABASE_URL"] = url
    # -P: the server runs where the person works; a `oneshot` folder there must not be taken for this package.
    return Stanza(sys.executable, ["-P", "-m", "oneshot", "capture", "mcp"], env, notes)


def _holds_a_password(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.password) or "password" in parts.query.lower()
    except ValueError:
        return True
