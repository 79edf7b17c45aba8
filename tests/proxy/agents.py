"""The real agents, each in a home of its own, led to wherever a test wants."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

# Nothing but the model is asked, and an unreachable one is an error at once.
CODEX_FLAGS = [
    *("--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check", "--json", "-m", "scripted-1"),
    *("--disable", "unbounded_connection_retries", "--disable", "plugins", "--disable", "remote_plugin"),
    *("--disable", "apps", "-c", "analytics.enabled=false", "-c", "check_for_update_on_startup=false"),
]


def codex(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Codex in `folder` until it is done."""
    home = folder / "codex-home"
    home.mkdir(exist_ok=True)
    return _run(["codex", "exec", *CODEX_FLAGS, *options, "greet"], folder, CODEX_HOME=str(home), **environment)


def claude(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Claude Code in `folder` until it is done."""
    return _run(
        ["claude", "-p", "greet", "--dangerously-skip-permissions", "--output-format", "json"],
        folder,
        **{"CLAUDE_CONFIG_DIR": str(folder / "claude-home"), "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"},
        **{"IS_SANDBOX": "1", "ANTHROPIC_API_KEY": "sk-ant-test-0000", **environment},
    )


def _run(argv: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("proxy") and not k.startswith("ONESHOT_")}
    return subprocess.run(
        argv,
        cwd=folder,
        env={**kept, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
