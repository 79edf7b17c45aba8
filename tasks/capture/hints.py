"""What a session tells about the environment that its task needs: guesses, for a curator to confirm."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from traces.models import Session, Step
from traces.redaction import redact

MOST_COMMANDS = 20
LONGEST_COMMAND = 300

SET_UP = re.compile(
    r"""
    (^|[\s;&|(])(
      (python3?\ -m\ )?pip3?\ install | uv\ (sync|add|pip\ (install|sync)|venv) | poetry\ install | pdm\ (install|sync)
      | pipenv\ (install|sync) | (conda|mamba)\ (install|env\ create) | npm\ (ci|install|i)\b
      | yarn(\ install)?\s*($|[;&|]) | pnpm\ (install|i)\b | bun\ install
      | (apt|apt-get)\ (-\S+\ )*install | apk\ add | (dnf|yum)\ (-\S+\ )*install
      | brew\ install | bundle\ install | composer\ install | cargo\ fetch | go\ mod\ download | go\ install
      | rustup\ (toolchain|component|target)\ | make\ (setup|install|deps|bootstrap)\b
      | \./(bootstrap|setup)(\.sh)?\b | corepack\ enable
    )
    """,
    re.VERBOSE,
)

LOCK_FILES = {
    *("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock", "requirements.txt", "constraints.txt", "environment.yml"),
    *("package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb"),
    *("Cargo.lock", "go.sum", "Gemfile.lock", "composer.lock", "mix.lock", "gradle.lockfile", "flake.lock"),
}

LANGUAGES = {
    ".py": "python",
    ".js": "node",
    ".jsx": "node",
    ".mjs": "node",
    ".cjs": "node",
    ".ts": "node",
    ".tsx": "node",
    ".go": "go",
    ".rs": "rust",
}


def set_up_commands(session: Session) -> list[str]:
    """Return the commands of a session that installed something and succeeded, in order, redacted."""
    found: dict[str, None] = {}
    for step in session.shown_steps().filter(kind=Step.Kind.TOOL):
        succeeded = step.exit_code == 0 if step.exit_code is not None else step.failed is False
        if succeeded and SET_UP.search(step.preview):
            found[redact(" ".join(step.preview.split()))[:LONGEST_COMMAND]] = None
            if len(found) == MOST_COMMANDS:
                break
    return list(found)


def environment_hints(paths: list[str], touched: list[str], session: Session | None) -> dict[str, Any]:
    """Return {"languages", "lock_files", "commands"}, guessed from the base's paths, the change and the session."""
    names = {path for path in paths if PurePosixPath(path).name in LOCK_FILES}
    suffixes = [PurePosixPath(path).suffix.lower() for path in touched]
    return {
        "languages": sorted({LANGUAGES[suffix] for suffix in suffixes if suffix in LANGUAGES}),
        "lock_files": sorted(names, key=lambda path: (path.count("/"), path))[:20],
        "commands": set_up_commands(session) if session else [],
    }
