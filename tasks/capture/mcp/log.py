"""The MCP server's log, DATA_DIR/logs/mcp.log: redacted, small, shared by all servers of an installation."""

from __future__ import annotations

import os
import time
from pathlib import Path

MOST_BYTES = 5_000_000

_descriptor = 2


def open_log(data_dir: Path) -> None:
    """Write to the installation's log from now on; to standard error when it cannot be opened."""
    global _descriptor
    path = data_dir / "logs" / "mcp.log"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > MOST_BYTES:
            path.replace(path.with_suffix(".log.1"))
        _descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        write(f"{path} cannot be written ({error.strerror}); the log goes to standard error")


def descriptor() -> int:
    """Return where the log goes."""
    return _descriptor


def write(text: str) -> None:
    """Add an entry, with the secrets taken out. A full disk never breaks a call."""
    if any(word in text for word in ("\n", "=", ":")):
        from traces.redaction import redact

        text = redact(text)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        os.write(_descriptor, f"{stamp} [{os.getpid()}] {text}\n".encode("utf-8", "replace"))
    except OSError:
        return
