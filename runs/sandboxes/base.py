"""What a sandbox can do, whatever holds it. Docker, the local sandbox and plug-ins implement `Provider`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from runs.errors import InfraError

Network = Literal["none", "model-only", "full"]

# What every sandbox shows inside: the repository, and a home that the agent's user owns.
WORKDIR = "/work"
HOME = "/home/agent"
BASE_GIT = "/opt/oneshot/base.git"
# Who commands run as, wherever the sandbox has users of its own.
AGENT_UID = 10001

Sink = Callable[[str, bytes], None]
"""Called with ("stdout" or "stderr", bytes) as output arrives, in pieces of any size."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a sandbox may use. Seconds bound its whole life, so that a lost one ends by itself."""

    memory_mb: int = 4096
    cpus: float = 2.0
    pids: int = 512
    disk_mb: int = 10240
    lifetime_s: float = 7200


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A host directory shown read-only inside, such as an agent's own binaries."""

    source: Path
    target: str


@dataclass(frozen=True, kw_only=True)
class Door:
    """The one way out of a model-only sandbox: a relay on the host (runs/relay.py) that holds the key.

    `port` is where it listens, on every address that `Provider.door_host()` names.
    """

    port: int
    token: str


@dataclass(frozen=True, kw_only=True)
class SandboxSpec:
    """What to create. `labels` always carry run, try and instance, so that a sweep can find its own orphans."""

    image: str
    labels: Mapping[str, str]
    limits: Limits = Limits()
    network: Network = "none"
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[Mount] = ()
    door: Door | None = None
    workdir: str = WORKDIR
    # The builder's sandbox may be root with a network; an agent's or a grader's never is.
    root: bool = False


class FileTooLarge(InfraError):
    """`Sandbox.get` was asked for a file that is larger than the caller allows."""


@dataclass(frozen=True, kw_only=True)
class ExecResult:
    """How a command ended. `exit_code` is None when it was killed: by a limit, a time-out, `kill` or `destroy`.

    A death by a signal of its own is 128 plus the signal, a command that is not there 127.
    """

    exit_code: int | None
    stdout: bytes
    stderr: bytes
    seconds: float
    timed_out: bool = False
    # Output beyond `max_output_bytes` was dropped from the middle of stdout or stderr.
    truncated: bool = False
    # "memory", "disk", "lifetime": the limit that ended it, when one did
    limit: str = ""


@dataclass(frozen=True, kw_only=True)
class SandboxInfo:
    """A sandbox found by a sweep."""

    id: str
    labels: Mapping[str, str]
    created_at: datetime
    expires_at: datetime


class Sandbox(Protocol):
    """A running sandbox. Methods may be called from several threads; after `destroy` they raise InfraError."""

    id: str
    isolation: str
    # Paths as commands inside see them; the local plain sandbox cannot remap, so ask instead of assuming.
    workdir: str
    home: str
    # A read-only git directory that holds the base commit and nothing else; the agent cannot change it.
    base_git: str

    def path(self, path: str) -> str:
        """Return how commands inside call a path of the plan: below WORKDIR, HOME, /tmp, BASE_GIT or a mount's target.

        The same, but in the local plain sandbox. `cwd`, `put`, `get` and the first word of `exec` are translated
        already; a path among other arguments or in a variable must go through here.
        """
        ...

    def exec(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout_s: float | None = None,
        max_output_bytes: int = 10_000_000,
        sink: Sink | None = None,
        root: bool = False,
    ) -> ExecResult:
        """Run a command to its end, with all its children. A time-out kills the children too and is no error.

        What the command leaves running in the background is killed when it ends. When several commands run at
        once, that happens at the end of the last; a limit or a time-out of one may end all of them.

        `cwd` is the workdir when None. `root` asks for the sandbox's own root where there is one (never for
        agents). Raises InfraError when the sandbox cannot be reached.
        """
        ...

    def put(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Write a file, and the directories above it, owned by the sandbox's user. Raises InfraError.

        A link that stands in the place of the file is replaced, not followed.
        """
        ...

    def put_tree(self, path: str, files: Mapping[str, bytes]) -> None:
        """Write many files below `path` in one go. Relative names only. Raises InfraError.

        Whatever stands in the way below `path`, such as a link where a directory is needed, is replaced.
        """
        ...

    def get(self, path: str, *, max_bytes: int = 50_000_000) -> bytes:
        """Read a regular file. Raises FileTooLarge, or FileNotFoundError when there is none, or a link or device."""
        ...

    def kill(self) -> None:
        """End every process inside, from any thread, within a second; a running `exec` returns."""
        ...

    def destroy(self) -> None:
        """Remove the sandbox and all it holds, at once. Safe to call twice."""
        ...


class Provider(Protocol):
    """A way to make sandboxes."""

    name: str

    def available(self) -> str:
        """Return "" when sandboxes can be made here, else one sentence that says what is missing and the mend."""
        ...

    def isolation(self) -> str:
        """Return what would hold a sandbox made now: container, bubblewrap, unshare or none."""
        ...

    def create(self, spec: SandboxSpec) -> Sandbox:
        """Start a sandbox from an image that `runs/images.py` made. Raises InfraError, or TaskError for a bad image."""
        ...

    def list(self, labels: Mapping[str, str]) -> list[SandboxInfo]:
        """Return the sandboxes on this machine that carry all of `labels`."""
        ...

    def destroy(self, sandbox_id: str) -> None:
        """Remove a sandbox by id, also one that another process made. No error when it is gone."""
        ...

    def door_host(self) -> tuple[str, str]:
        """Return (address the relay must listen on, host name that commands inside use to reach it)."""
        ...
