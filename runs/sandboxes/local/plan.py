"""What a local sandbox consists of: where its parts lie on the host, and what they are called inside."""

from __future__ import annotations

import posixpath
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from runs.sandboxes.base import BASE_GIT, HOME, WORKDIR, Limits, Mount, Network

# What of the host a command may see, besides its own directories. Nothing here holds secrets.
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store")
SYSTEM_ETC = (
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "debian_version",
    "fonts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "pki",
    "protocols",
    "rpc",
    "services",
    "ssl",
    "timezone",
)
SYSTEM_ETC_PATTERNS = ("java-*", "perl", "python3*")
# Only for a sandbox that uses the host's network.
NETWORK_ETC = ("resolv.conf", "host.conf", "gai.conf")
ELSEWHERE = ("/work", "/repository", "/srv/work")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One sandbox. `uid` is the host's user that its commands run as, None when that is whoever runs OneShot."""

    id: str
    directory: Path
    image: Path
    uid: int | None
    limits: Limits
    network: Network
    workdir: str
    # Set-up runs in the image's own directories, which it may write; everything else gets copies.
    builder: bool = False
    mounts: Sequence[Mount] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    # False where paths cannot be remapped, so that everything has the name it has on the host.
    remapped: bool = True

    @property
    def work(self) -> Path:
        return self.image / "work" if self.builder else self.directory / "work"

    @property
    def home(self) -> Path:
        return self.image / "home" if self.builder else self.directory / "home"

    @property
    def tmp(self) -> Path:
        return self.directory / "tmp"

    @property
    def etc(self) -> Path:
        """The few files of /etc that are made for this sandbox, such as its one-user passwd."""
        return self.directory / "etc"

    @property
    def opt(self) -> Path:
        return self.image / "opt"

    @property
    def base_git(self) -> Path:
        return self.image / "base.git"

    def names(self) -> list[tuple[str, Path, bool]]:
        """Return (name in the plan, directory on the host, whether commands may write there), longest name first."""
        rows = [
            (BASE_GIT, self.base_git, False),
            (self.workdir, self.work, True),
            (WORKDIR, self.work, True),
            (HOME, self.home, True),
            ("/opt", self.opt, self.builder),
            ("/tmp", self.tmp, True),  # noqa: S108
            ("/var/tmp", self.tmp, True),  # noqa: S108
            *((mount.target, Path(mount.source), False) for mount in self.mounts),
        ]
        return sorted(rows, key=lambda row: -len(row[0]))

    def inside(self, path: str) -> str:
        """Return what commands call a path of the plan."""
        if self.remapped:
            return self._moved(path)
        if any(_below(path, str(root)) for root in (self.directory, self.image)):
            return path
        for name, host, _ in self.names():
            if below := _below(path, name):
                return posixpath.normpath(posixpath.join(str(host), below))
        return path

    def _moved(self, path: str) -> str:
        below = _below(path, WORKDIR)
        if below is None or self.workdir.startswith(WORKDIR + "/"):
            return path
        return posixpath.normpath(posixpath.join(self.workdir, below))

    def locate(self, path: str) -> tuple[Path, tuple[str, ...], bool] | None:
        """Return (host directory, parts below it, writable) for a path of the plan or as seen inside, else None."""
        wanted = posixpath.normpath(path)
        rows = self.names()
        if not self.remapped:
            rows = [*((str(host), host, writable) for _, host, writable in rows), *rows]
        for name, host, writable in rows:
            below = _below(wanted, name)
            if below is not None:
                return host, PurePosixPath(below).parts, writable
        return None


def _below(path: str, name: str) -> str | None:
    """Return the rest of `path` below `name` ("." for itself), or None when it is not there."""
    if path == name or path.rstrip("/") == name:
        return "."
    return path[len(name) + 1 :] if path.startswith(name.rstrip("/") + "/") else None


def python_prefix() -> Path | None:
    """Return the directory of the Python that runs OneShot, when the system's directories do not hold it."""
    prefix = Path(sys.base_prefix).resolve()
    return None if any(prefix.is_relative_to(name) for name in SYSTEM) else prefix


def choose_workdir(wanted: str, image: Path) -> str:
    """Return the workdir as it is called inside: the wanted one, unless it would cover up what has to lie below it.

    The image's /opt is also shown under its real path, because programs installed there have that path written into
    them. When the data directory lies below the workdir's name, the repository has to be called something else.
    """
    shown = [image.resolve() / "opt", *filter(None, [python_prefix()])]

    def is_free(name: str) -> bool:
        return not any(path.is_relative_to(name) for path in shown)

    return next((name for name in (wanted, *ELSEWHERE) if is_free(name)), wanted)
