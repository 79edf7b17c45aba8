"""Finds the native package of an agent that npm distributes, or installs it once, below the data directory."""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from django.conf import settings

from runs.agents.base import Log
from runs.agents.lines import tail
from runs.errors import AgentError, InfraError

INSTALL_TIMEOUT_S = 900
ASK_TIMEOUT_S = 60
VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+[A-Za-z0-9.+-]*\Z")
NETWORK_FAULT = re.compile(r"\b(ENOTFOUND|EAI_AGAIN|ECONN\w+|ETIMEDOUT|ERR_SOCKET\w*|EHOSTUNREACH|ENETUNREACH)\b")
CPUS = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Installation:
    """A native package: its directory, and its version."""

    root: Path
    version: str


@dataclass(frozen=True, kw_only=True)
class NativePackage:
    """An npm package whose native part runs inside sandboxes. `below` finds that part in one place on this host."""

    name: str
    label: str
    # Directory below DATA_DIR/agents that holds what was installed here.
    directory: str
    mend: str
    example: str
    below: Callable[[Path], Iterable[Installation]]
    # Places of this host where it may be already, best first.
    places: Callable[[], Iterable[Path]]

    def find(self, version: str = "") -> Installation | None:
        """Return the package of this version, or with "" the first there is; None when this host has none."""
        return next((found for found in self._installations() if version in ("", found.version)), None)

    def problem(self, version: str = "") -> str:
        """Return "" when it can be used, or installed when a run needs it; else what is missing and the mend."""
        if self.find(version) or shutil.which("npm"):
            return ""
        others = ", ".join(sorted({found.version for found in self._installations()}))
        what = f"{self.label} {version}".strip()
        there = f"Only {others} is there. " if others else ""
        return f"{what} is not on this machine, and without npm it cannot be installed. {there}{self.mend}"

    def newest_version(self) -> str:
        """Return the version on this host, or else the newest that npm offers. Raises AgentError with the mend."""
        if found := self.find():
            return found.version
        version = self._npm("view", self.name, "version").strip()
        if not VERSION.match(version):
            raise AgentError(f"npm names no version of {self.name}. {self.mend}")
        return version

    def obtain(self, version: str, log: Log) -> Installation:
        """Return the package, installed from npm if need be. Raises AgentError with the mend when that fails."""
        if found := self.find(version):
            return found
        version = version or self.newest_version()
        if not VERSION.match(version):
            raise AgentError(f"{version!r} is no version of {self.label}, such as {self.example}.")
        base = self._own_directory()
        base.mkdir(parents=True, exist_ok=True)
        for directory in (base, base.parent):
            directory.chmod(0o755)
        with (base / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log("agent", f"another run is installing {self.label}; waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            return self.find(version) or self._install(base, version, log)

    def _install(self, base: Path, version: str, log: Log) -> Installation:
        log("agent", f"installing {self.label} {version} from npm; this happens once")
        directory = Path(tempfile.mkdtemp(dir=base, prefix=".new-"))
        try:
            options = [
                f"--prefix={directory}",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--os=linux",
                "--libc=glibc",
            ]
            words = self._npm(
                "install", *options, f"--cpu={cpu()}", f"{self.name}@{version}", timeout_s=INSTALL_TIMEOUT_S
            )
            log("agent", tail(words.encode()))
            if not any(self.below(directory)):
                raise AgentError(f"{self.name}@{version} from npm holds no native package for {cpu()}. {self.mend}")
            _let_everyone_read(directory)
            target = base / version
            shutil.rmtree(target, ignore_errors=True)
            directory.rename(target)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        found = self.find(version)
        if found is None:
            raise AgentError(f"npm installed {self.name}@{version}, but its package names another version. {self.mend}")
        log("agent", f"installed {self.label} {version}")
        return found

    def _npm(self, *arguments: str, timeout_s: float = ASK_TIMEOUT_S) -> str:
        if shutil.which("npm") is None:
            raise AgentError(
                f"{self.label} is not on this machine, and without npm it cannot be installed. {self.mend}"
            )
        try:
            return npm(*arguments, timeout_s=timeout_s)
        except _NpmFailed as failed:
            if NETWORK_FAULT.search(failed.words):
                raise InfraError(
                    f"npm {arguments[0]} of {self.name} did not reach its registry. npm says:\n{failed.words}"
                ) from None
            raise AgentError(
                f"npm {arguments[0]} of {self.name} failed. {self.mend} npm says:\n{failed.words}"
            ) from None

    def _installations(self) -> Iterator[Installation]:
        for place in self.places():
            yield from self.below(place)
        own = self._own_directory()
        if own.is_dir():
            # The newest first, for those who do not ask for one.
            versions = (path for path in own.iterdir() if VERSION.match(path.name))
            for place in sorted(versions, key=_version_key, reverse=True):
                yield from self.below(place)

    def _own_directory(self) -> Path:
        return Path(settings.DATA_DIR) / "agents" / self.directory


class _NpmFailed(Exception):
    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = words


def npm(*arguments: str, timeout_s: float = ASK_TIMEOUT_S) -> str:
    """Return what npm prints. Raises InfraError when it takes too long, _NpmFailed when it fails."""
    # The registry may carry a password: in the environment it is not shown to every user as an argument is.
    env = dict(os.environ) | ({"npm_config_registry": settings.NPM_REGISTRY} if settings.NPM_REGISTRY else {})
    try:
        done = subprocess.run(
            [shutil.which("npm") or "npm", *arguments],
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
    except OSError as error:
        raise _NpmFailed(str(error)) from None
    if done.returncode:
        raise _NpmFailed(tail((done.stderr or done.stdout).encode()))
    return done.stdout


@lru_cache(maxsize=1)
def global_root() -> str:
    """Return npm's directory of global packages, or "". Asked once: npm takes a good part of a second to answer."""
    try:
        return npm("root", "--global").strip()
    except (_NpmFailed, InfraError):
        return ""


def cpu() -> str:
    """Return this machine's processor, as npm calls it."""
    return CPUS.get(platform.machine().lower(), "x64")


def _let_everyone_read(directory: Path) -> None:
    """Undo a strict umask: the sandbox's user is not the one who installs."""
    for path in (directory, *directory.rglob("*")):
        if not path.is_symlink():
            executable = path.is_dir() or os.access(path, os.X_OK)
            path.chmod(path.stat().st_mode | (0o555 if executable else 0o444))


def _version_key(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path.name)]
