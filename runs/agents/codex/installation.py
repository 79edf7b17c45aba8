"""Where the Codex CLI's native package is on this host.

The package is a directory: the binary needs its siblings, so it is never enough to have the binary alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from django.conf import settings

from runs.agents import npm
from runs.agents.npm import Installation, NativePackage

# Where npm keeps the native package, seen from its own package, from a prefix, and from an older layout.
LAYOUTS = (
    ".",
    "vendor/*",
    "node_modules/@openai/codex-linux-*/vendor/*",
    "node_modules/@openai/codex/node_modules/@openai/codex-linux-*/vendor/*",
    "lib/node_modules/@openai/codex/node_modules/@openai/codex-linux-*/vendor/*",
)
TARGETS = {"x64": "x86_64", "arm64": "aarch64"}


def _places() -> Iterator[Path]:
    if settings.CODEX_HOME_DIR:
        yield Path(settings.CODEX_HOME_DIR)
    if program := shutil.which("codex"):
        # npm links to bin/codex.js of its package; a native package has bin/codex itself.
        yield Path(program).resolve().parent.parent
    if root := npm.global_root():
        yield Path(root) / "@openai" / "codex"


def _below(place: Path) -> Iterator[Installation]:
    for layout in LAYOUTS:
        for root in sorted(place.glob(layout)) if layout != "." else [place]:
            try:
                about = json.loads((root / "codex-package.json").read_text(encoding="utf-8"))
                target, version = str(about.get("target", "")), str(about.get("version", ""))
            except (OSError, ValueError, AttributeError):
                continue
            # A package for this machine's own system is of no use inside a Linux sandbox.
            if "linux" in target and target.startswith(TARGETS[npm.cpu()]) and (root / "bin" / "codex").is_file():
                yield Installation(root=root.resolve(), version=version)


CODEX = NativePackage(
    name="@openai/codex",
    label="Codex",
    directory="codex",
    mend=(
        "Install it with `npm install -g @openai/codex`, or name its native package directory (the one with "
        "codex-package.json) in ONESHOT_CODEX_DIR."
    ),
    example="0.169.0",
    below=_below,
    places=_places,
)
