"""Makes unified diffs of what agents say about their edits, and counts what a diff touches."""

from __future__ import annotations

import difflib
import os.path
import re
from typing import Any

from traces.readers import values

# Comparing two long texts line by line costs the product of their lengths in the worst case.
COMPARE_LIMIT = 200_000
FILES_TOLD = 200
_SECTION = re.compile(r"^\*\*\* (Add|Update|Delete) File: (.+)$")
_MOVE = re.compile(r"^\*\*\* Move to: (.+)$")
_CHANGES = {"Add": "added", "Update": "modified", "Delete": "deleted"}


def within(path: str, cwd: str) -> str:
    """Return the path as seen from the session's directory when it lies below it."""
    if cwd and path.startswith("/"):
        relative = os.path.relpath(path, cwd)
        return path if relative.startswith("..") else relative
    return path


def heading(path: str, change: str) -> str:
    """Return the lines that begin a file's part of a diff."""
    old = "/dev/null" if change == "added" else f"a/{path}"
    new = "/dev/null" if change == "deleted" else f"b/{path}"
    mode = {"added": "new file mode 100644\n", "deleted": "deleted file mode 100644\n"}.get(change, "")
    return f"diff --git a/{path} b/{path}\n{mode}--- {old}\n+++ {new}\n"


def whole_file(path: str, content: str, change: str) -> str:
    """Return the diff that adds or deletes a file."""
    lines = content.splitlines()
    sign, span = ("+", f"@@ -0,0 +1,{len(lines)} @@") if change == "added" else ("-", f"@@ -1,{len(lines)} +0,0 @@")
    if not lines:
        return heading(path, change)
    body = "\n".join(sign + line for line in lines)
    tail = "" if content.endswith("\n") else "\n\\ No newline at end of file"
    return f"{heading(path, change)}{span}\n{body}{tail}\n"


def replaced(path: str, old: str, new: str) -> str:
    """Return a diff of a piece of a file; its line numbers are those within the piece."""
    if len(old) + len(new) > COMPARE_LIMIT:
        lines = [f"-{line}" for line in old.splitlines()] + [f"+{line}" for line in new.splitlines()]
        span = f"@@ -1,{len(old.splitlines())} +1,{len(new.splitlines())} @@"
        return heading(path, "modified") + "\n".join([span, *lines]) + "\n"
    found = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="")
    return heading(path, "modified") + "".join(f"{line}\n" for line in list(found)[2:])


def hunks(path: str, structured: list[Any], change: str = "modified") -> str:
    """Return a diff from hunks of the form {oldStart, oldLines, newStart, newLines, lines}."""
    parts = [heading(path, change)]
    for hunk in structured:
        numbers = [values.small(values.mapping(hunk).get(k)) for k in ("oldStart", "oldLines", "newStart", "newLines")]
        start, old, to, new = (number or 0 for number in numbers)
        parts.append(f"@@ -{start},{old} +{to},{new} @@\n")
        parts += [f"{line}\n" for line in values.items(values.mapping(hunk).get("lines")) if isinstance(line, str)]
    return "".join(parts)


def counted(path: str, change: str, diff: str) -> dict[str, Any]:
    """Return what a file's diff does, as a step's meta tells it."""
    added = removed = 0
    for line in diff.splitlines():
        added += line.startswith("+") and not line.startswith("+++ ")
        removed += line.startswith("-") and not line.startswith("--- ")
    return {"path": path[:500], "change": change, "added": added, "removed": removed}


def of_apply_patch(patch: str, cwd: str = "") -> list[dict[str, Any]]:
    """Return the files that a patch in Codex's own format touches."""
    files: list[dict[str, Any]] = []
    for line in patch.splitlines():
        if found := _SECTION.match(line):
            path = within(found[2].strip(), cwd)[:500]
            files.append({"path": path, "change": _CHANGES[found[1]], "added": 0, "removed": 0})
        elif found := _MOVE.match(line):
            if files:
                files[-1] |= {"change": "renamed", "to": within(found[1].strip(), cwd)[:500]}
        elif files and line[:1] in "+-" and line[:1]:
            files[-1]["added" if line[0] == "+" else "removed"] += 1
    return files[:FILES_TOLD]


def named(files: list[dict[str, Any]]) -> str:
    """Return the paths on one line, for a step's preview."""
    return ", ".join(file["path"] for file in files[:20]) + (f" and {len(files) - 20} more" if len(files) > 20 else "")
