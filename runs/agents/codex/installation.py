"""Finds the Codex CLI's native package on this host, or installs it from npm below the data directory.

The package is a directory: the binary needs its siblings, so it is never enough to have the binary alone.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from django.conf import settings

from runs.agents.base import Log
from runs.agents.lines import tail
from runs.errors import AgentError, InfraError

PACKAGE = "@openai/codex"
INSTALL_TIMEOUT_S = 900
ASK_TIMEOUT_S = 60
VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+[A-Za-z0-9.+-]*\Z")
NETWORK_FAULT = re.compile(r"\b(ENOTFOUND|EAI_AGAIN|ECONN\w+|ETIMEDOUT|ERR_SOCKET\w*|EHOSTUNREACH|ENETUNREACH)\b")
# Where npm keeps the native package, seen from its own package, from a prefix, and from an older layout.
LAYOUTS = (
    ".",
    "vendor/*",
    "node_modules/@openai/codex-linux-*/vendor/*",
    "node_modules/@openai/codex/node_modules/@openai/codex-linux-*/vendor/*",
    "lib/node_modules/@openai/codex/node_modules/@openai/codex-linux-*/vendor/*",
)
CPUS = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}
TARGETS = {"x64": "x86_64", "arm64": "aarch64"}
MEND = (
    "Install it with `npm install -g @openai/codex`, or name its native package directory (the one with "
    "codex-package.json) in ONESHOT_CODEX_DIR."
)


@dataclass(frozen=True)
class Installation:
    """A native package: the directory that holds bin/codex, and its version."""

    root: Path
    version: str


def find(version: str = "") -> Installation | None:
    """Return the package of this version, or with "" the first there is; None when this host has none."""
    return next((found for found in _installations() if version in ("", found.version)), None)


def problem(version: str = "") -> str:
    """Return "" when Codex can be used, or installed when a run needs it; else what is missing and the mend."""
    if find(version) or shutil.which("npm"):
        return ""
    others = ", ".join(sorted({found.version for found in _installations()}))
    what = f"Codex {version}".strip()
    there = f"Only {others} is there. " if others else ""
    return f"{what} is not on this machine, and without npm it cannot be installed. {there}{MEND}"


def newest_version() -> str:
    """Return the version on this host, or else the newest that npm offers. Raises AgentError with the mend."""
    if found := find():
        return found.version
    version = _npm("view", PACKAGE, "version").strip()
    if not VERSION.match(version):
        raise AgentError(f"npm names no version of {PACKAGE}. {MEND}")
    return version


def obtain(version: str, log: Log) -> Installation:
    """Return the package, installed from npm if need be. Raises AgentError with the mend when that fails."""
    if found := find(version):
        return found
    version = version or newest_version()
    if not VERSION.match(version):
        raise AgentError(f"{version!r} is no version of Codex, such as 0.169.0.")
    base = _own_directory()
    base.mkdir(parents=True, exist_ok=True)
    for directory in (base, base.parent):
        directory.chmod(0o755)
    with (base / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log("agent", "another run is installing Codex; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        return find(version) or _install(base, version, log)


def _install(base: Path, version: str, log: Log) -> Installation:
    log("agent", f"installing Codex {version} from npm; this happens once")
    directory = Path(tempfile.mkdtemp(dir=base, prefix=".new-"))
    try:
        cpu = CPUS.get(platform.machine().lower(), "x64")
        options = [f"--prefix={directory}", "--no-audit", "--no-fund", "--ignore-scripts", "--os=linux", f"--cpu={cpu}"]
        words = _npm("install", *options, f"{PACKAGE}@{version}", timeout_s=INSTALL_TIMEOUT_S)
        log("agent", tail(words.encode()))
        if not any(_packages_below(directory)):
            raise AgentError(f"{PACKAGE}@{version} from npm holds no native package for {cpu}. {MEND}")
        _let_everyone_read(directory)
        target = base / version
        shutil.rmtree(target, ignore_errors=True)
        directory.rename(target)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    found = find(version)
    if found is None:
        raise AgentError(f"npm installed {PACKAGE}@{version}, but its package names another version. {MEND}")
    log("agent", f"installed Codex {version}")
    return found


def _let_everyone_read(directory: Path) -> None:
    """Undo a strict umask: the sandbox's user is not the one who installs."""
    for path in (directory, *directory.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or os.access(path, os.X_OK)
            path.chmod(path.stat().st_mode | (0o555 if executable else 0o444))


def _npm(*arguments: str, timeout_s: float = ASK_TIMEOUT_S) -> str:
    npm = shutil.which("npm")
    if npm is None:
        raise AgentError(f"Codex is not on this machine, and without npm it cannot be installed. {MEND}")
    # The registry may carry a password: in the environment it is not shown to every user as an argument is.
    env = dict(os.environ) | ({"npm_config_registry": settings.NPM_REGISTRY} if settings.NPM_REGISTRY else {})
    try:
        done = subprocess.run(
            [npm, *arguments],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise InfraError(f"npm {arguments[0]} did not finish within {timeout_s:g} s.") from None
    if done.returncode:
        words = tail((done.stderr or done.stdout).encode())
        if NETWORK_FAULT.search(words):
            raise InfraError(f"npm {arguments[0]} of {PACKAGE} did not reach its registry. npm says:\n{words}")
        raise AgentError(f"npm {arguments[0]} of {PACKAGE} failed. {MEND} npm says:\n{words}")
    return done.stdout


def _installations() -> Iterator[Installation]:
    for place in _places():
        yield from _packages_below(place)


def _places() -> Iterator[Path]:
    if settings.CODEX_HOME_DIR:
        yield Path(settings.CODEX_HOME_DIR)
    if program := shutil.which("codex"):
        # npm links to bin/codex.js of its package; a native package has bin/codex itself.
        yield Path(program).resolve().parent.parent
    if root := _npm_root():
        yield Path(root) / "@openai" / "codex"
    own = _own_directory()
    if own.is_dir():
        # The newest first, for those who do not ask for one.
        yield from sorted((path for path in own.iterdir() if VERSION.match(path.name)), key=_version_key, reverse=True)


def _packages_below(place: Path) -> Iterator[Installation]:
    cpu = CPUS.get(platform.machine().lower(), "x64")
    for layout in LAYOUTS:
        for root in sorted(place.glob(layout)) if layout != "." else [place]:
            try:
                about = json.loads((root / "codex-package.json").read_text(encoding="utf-8"))
                target, version = str(about.get("target", "")), str(about.get("version", ""))
            except (OSError, ValueError, AttributeError):
                continue
            # A package for this machine's own system is of no use inside a Linux sandbox.
            if "linux" in target and target.startswith(TARGETS[cpu]) and (root / "bin" / "codex").is_file():
                yield Installation(root=root.resolve(), version=version)


@lru_cache(maxsize=1)
def _npm_root() -> str:
    """Return npm's directory of global packages, or "". Asked once: npm takes a good part of a second to answer."""
    try:
        return _npm("root", "--global", timeout_s=ASK_TIMEOUT_S).strip()
    except (AgentError, InfraError):
        return ""


def _own_directory() -> Path:
    return Path(settings.DATA_DIR) / "agents" / "codex"


def _version_key(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path.name)]
