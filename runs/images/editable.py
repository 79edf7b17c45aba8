"""Lets a project that was installed in place be found wherever a sandbox has its copy of the repository.

Only where paths cannot be remapped: there the copy lies beside the sandbox's home, under a name of its own, while
an editable install has written down where the repository lay during set-up.
"""

from __future__ import annotations

from pathlib import Path

# What a sandbox's home and its repository have in common is the directory they lie in.
WHERE = '__import__("os").path.join(__import__("os").path.dirname(__import__("os").environ.get("HOME", "")), "work")'


def unpin(site_packages: Path, work: Path) -> list[str]:
    """Rewrite what names `work` in the path files of an environment; return the names of the files."""
    changed = []
    for path in sorted([*site_packages.glob("*.pth"), *site_packages.glob("__editable__*.py")]):
        if path.is_symlink():
            continue
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        new = _path_file(text, work) if path.suffix == ".pth" else _finder(text, work)
        if new != text:
            path.write_text(new, encoding="utf-8", errors="surrogateescape")
            changed.append(path.name)
    return changed


def _path_file(text: str, work: Path) -> str:
    lines = []
    for line in text.splitlines():
        if line == str(work) or line.startswith(f"{work}/"):
            below = line[len(str(work)) + 1 :]
            line = f"import sys; sys.path.append(__import__('os').path.join({WHERE}, {below!r}))"
        lines.append(line)
    return "\n".join(lines) + "\n"


def _finder(text: str, work: Path) -> str:
    """Rewrite the string literals of setuptools' finder that begin with the path."""
    for quote in "'\"":
        text = text.replace(f"{quote}{work}/", f"{WHERE} + {quote}/").replace(f"{quote}{work}{quote}", WHERE)
    return text
