"""Where Claude Code's native package is on this host: one binary for Linux with glibc, which needs no Node."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from runs.agents import npm
from runs.agents.npm import Installation, NativePackage

NAME = "@anthropic-ai/claude-code"


def _places() -> Iterator[Path]:
    if settings.CLAUDE_CODE_DIR:
        yield Path(settings.CLAUDE_CODE_DIR)
    if program := shutil.which("claude"):
        # npm links to bin/claude.exe of its package, which holds the native one.
        yield Path(program).resolve().parent.parent
    if root := npm.global_root():
        yield Path(root) / NAME


def _below(place: Path) -> Iterator[Installation]:
    native = f"{NAME}-linux-{npm.cpu()}"
    for layout in (".", f"node_modules/{native}", f"node_modules/{NAME}/node_modules/{native}"):
        root = place / layout
        try:
            about = json.loads((root / "package.json").read_text(encoding="utf-8"))
            name, version = about.get("name"), str(about.get("version", ""))
        except (OSError, ValueError, AttributeError):
            continue
        # The package of another system, or of musl, is of no use inside a sandbox.
        if name == native and npm.VERSION.match(version) and (root / "claude").is_file():
            yield Installation(root=root.resolve(), version=version)


CLAUDE_CODE = NativePackage(
    name=NAME,
    label="Claude Code",
    directory="claude-code",
    mend=(
        f"Install it with `npm install -g {NAME}`, or name its native package directory (the one with `claude` and "
        f"package.json of {NAME}-linux-x64 or -arm64) in ONESHOT_CLAUDE_CODE_DIR."
    ),
    example="2.1.197",
    below=_below,
    places=_places,
)
