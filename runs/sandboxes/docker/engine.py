"""Talks to the Docker engine (or Podman's socket): one client per process, and errors that say the mend."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from runs.errors import InfraError

if TYPE_CHECKING:
    from docker import APIClient

# An engine under load may take long to start a container; one that does not answer at all is found by `ping`.
TIMEOUT_S = 120
PING_TIMEOUT_S = 5
DEFAULT_SOCKET = "/var/run/docker.sock"

_lock = threading.Lock()
_client: APIClient | None = None
# What was learned of an engine, by address, outlives a fork.
_versions: dict[str, str] = {}


def _after_fork() -> None:
    """A connection that a child shares with its parent would mix up their answers."""
    global _lock, _client
    _lock, _client = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Gone(InfraError):
    """The container is not there any more: it was destroyed, here or by somebody else."""


def address() -> str:
    """Return where the engine listens: ONESHOT_DOCKER_HOST, DOCKER_HOST, or the first usual socket that is there."""
    if chosen := settings.DOCKER_HOST or os.environ.get("DOCKER_HOST", ""):
        return chosen
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    rootless = [f"{runtime}/docker.sock", f"{runtime}/podman/podman.sock"] if runtime else []
    for path in (DEFAULT_SOCKET, *rootless, "/run/podman/podman.sock"):
        if Path(path).exists():
            return f"unix://{path}"
    return f"unix://{DEFAULT_SOCKET}"


def client() -> APIClient:
    """Return this process's client. Raises InfraError when the engine cannot be spoken to."""
    global _client
    with _lock:
        if _client is None:
            _client = _connect()
        return _client


def _connect() -> APIClient:
    where = address()
    if where.startswith("ssh://"):
        raise InfraError(
            f"The engine's address {where!r} is an ssh address, which cannot carry a command's output as it arrives. "
            "Forward its socket instead (ssh -L /tmp/docker.sock:/var/run/docker.sock HOST) and set "
            "ONESHOT_DOCKER_HOST=unix:///tmp/docker.sock."
        )
    with errors("The Docker engine does not answer"):
        # Takes 0.2 s, so only where a container is really wanted.
        from docker import APIClient
        from docker.utils import kwargs_from_env

        made = APIClient(
            base_url=where,
            version=_versions.get(where, "auto"),
            timeout=TIMEOUT_S,
            max_pool_size=32,
            tls=kwargs_from_env().get("tls", False),
        )
        # The engine is never behind the proxy that reaches the world.
        made.trust_env = False
        _versions[where] = made.api_version
        return made


@contextlib.contextmanager
def errors(what: str) -> Iterator[None]:
    """Turn whatever the SDK raises into an InfraError that begins with `what`; Gone when the container is not there."""
    from docker.errors import APIError, DockerException, NotFound
    from requests.exceptions import RequestException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except NotFound as error:
        raise Gone(f"{what}: {error.explanation or error}") from error
    except APIError as error:
        raise InfraError(f"{what}: {error.explanation or error}") from error
    except (DockerException, RequestException, HTTPError, OSError) as error:
        raise InfraError(f"{what}: {problem() or error}") from error


def problem() -> str:
    """Return why the engine cannot be used, with the mend, or "" when its socket accepts a connection."""
    where = address()
    if not where.startswith("unix://"):
        return _tcp_problem(where)
    path = where.removeprefix("unix://")
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(PING_TIMEOUT_S)
            probe.connect(path)
    except FileNotFoundError:
        return (
            f"Docker is not installed, or its engine is not running: there is no socket {path}. "
            "Install Docker or start it, or set ONESHOT_DOCKER_HOST to where an engine listens."
        )
    except PermissionError:
        return (
            f"This user may not use the Docker engine: no permission on {path}. "
            "Add the user to the group that owns the socket (usermod -aG docker NAME) and log in again."
        )
    except ConnectionRefusedError:
        return f"The Docker engine is not running: nobody listens on {path}. Start it (systemctl start docker)."
    except OSError as error:
        return f"The Docker engine's socket {path} cannot be used: {error.strerror or error}."
    return ""


def _tcp_problem(where: str) -> str:
    host, _, port = where.partition("://")[2].partition("/")[0].rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=PING_TIMEOUT_S):
            return ""
    except (OSError, ValueError) as error:
        return f"The Docker engine at {where} cannot be reached: {error}. Check ONESHOT_DOCKER_HOST or DOCKER_HOST."


def shares_processes() -> bool:
    """Return whether the engine runs in this process's own process namespace, so that /proc shows its containers.

    The socket tells who listens on it: a process of another namespace, such as the host's engine whose socket was
    mounted into our own container, shows as 0.
    """
    where = address()
    if not where.startswith("unix://") or not hasattr(socket, "SO_PEERCRED"):
        return False
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(PING_TIMEOUT_S)
            probe.connect(where.removeprefix("unix://"))
            credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except OSError:
        return False
    return struct.unpack("3i", credentials)[0] > 0
