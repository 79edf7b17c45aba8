"""Runs git on the host so that nothing in a repository, and nothing that a task names, can run a program here."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from oneshot.errors import InfraError
from tasks import certificates

Alive = Callable[[], None]
"""Called often during long work; raises to stop it."""

POLL_S = 0.2

# Hooks, watchers and filters are programs that a repository's own files could name; `ext::` is a command as a URL.
HARMLESS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.autocrlf": "false",
    "core.symlinks": "true",
    "core.protectNTFS": "false",
    "protocol.allow": "never",
    "protocol.https.allow": "always",
    "protocol.http.allow": "always",
    "protocol.ssh.allow": "always",
    "protocol.git.allow": "always",
    "protocol.file.allow": "always",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "fetch.recurseSubmodules": "no",
    "transfer.fsckObjects": "false",
    "advice.detachedHead": "false",
    "init.defaultBranch": "main",
}


@dataclass(frozen=True)
class GitResult:
    """How a git command ended. `exit_code` is None when it was killed because its time was over."""

    exit_code: int | None
    stdout: bytes
    stderr: str

    @property
    def ok(self) -> bool:
        return self.exit_code == 0


def git(
    arguments: Sequence[str],
    *,
    directory: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | Path = b"",
    timeout_s: float = 120,
    alive: Alive = lambda: None,
    with_users_config: bool = False,
) -> GitResult:
    """Run git with its git directory at `directory` (None for a command that needs none), and return how it ended.

    Only a fetch reads the user's own configuration, for its credentials and URL rewrites. `stdin` may be a file.
    Raises InfraError when this machine has no git, and whatever `alive` raises, after git was killed.
    """
    words = ["git"]
    for name, value in HARMLESS.items():
        words += ["-c", f"{name}={value}"]
    if directory is not None:
        words.append(f"--git-dir={directory}")
    with contextlib.ExitStack() as stack:
        config = stack.enter_context(_global_config()) if with_users_config else os.devnull
        environment = {**clean_environment(config), **(env or {})}
        if with_users_config and "GIT_SSL_CAINFO" not in environment and (bundle := certificates.bundle()):
            trusted = stack.enter_context(tempfile.NamedTemporaryFile(prefix="oneshot-ca-"))
            trusted.write(bundle)
            trusted.flush()
            environment["GIT_SSL_CAINFO"] = trusted.name
        source: IO[bytes]
        if isinstance(stdin, Path):
            source = stack.enter_context(stdin.open("rb"))
        else:
            source = stack.enter_context(tempfile.TemporaryFile())
            source.write(stdin)
            source.seek(0)
        return _run([*words, *arguments], environment, source, timeout_s, alive)


def clean_environment(config: str = os.devnull) -> dict[str, str]:
    """Return this process' environment with nothing in it that steers git; `config` stands for the user's own file."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # How the user's git reaches servers, not what it works on.
    for name in ("GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_PROXY_COMMAND"):
        if name in os.environ:
            kept[name] = os.environ[name]
    return {
        **kept,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1" if config == os.devnull else "0",
        "GIT_CONFIG_GLOBAL": config,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "LC_ALL": "C.UTF-8",
    }


@contextlib.contextmanager
def _global_config() -> Iterator[str]:
    """Give a configuration file that includes the user's, and lets git read repositories that others own.

    The server side of a local fetch reads only files, not what the command line says.
    """
    own = os.environ.get("GIT_CONFIG_GLOBAL")
    standard = [Path.home() / ".config" / "git" / "config", Path.home() / ".gitconfig"]
    with tempfile.NamedTemporaryFile("w", prefix="oneshot-gitconfig-", encoding="utf-8") as file:
        for path in [Path(own)] if own else standard:
            if path.is_file():
                file.write(f'[include]\n\tpath = "{path}"\n')
        file.write("[safe]\n\tdirectory = *\n")
        file.flush()
        yield file.name


def _run(words: list[str], environment: dict[str, str], source: IO[bytes], timeout_s: float, alive: Alive) -> GitResult:
    try:
        process = subprocess.Popen(
            words,
            env=environment,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            start_new_session=True,
        )
    except FileNotFoundError:
        raise InfraError("This machine has no git. Install it (apt-get install git).") from None
    deadline = time.monotonic() + timeout_s
    try:
        while True:
            try:
                out, err = process.communicate(timeout=POLL_S)
                return GitResult(process.returncode, out, err.decode("utf-8", "replace"))
            except subprocess.TimeoutExpired:
                alive()
            if time.monotonic() > deadline:
                _end(process)
                out, err = process.communicate()
                return GitResult(None, out, err.decode("utf-8", "replace"))
    except BaseException:
        _end(process)
        process.communicate()
        raise


def _end(process: subprocess.Popen[bytes]) -> None:
    """End git with its helpers (ssh, upload-pack), which share its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
