"""The gateway: listens between agents and model services, records what passes, and keeps keys out of sandboxes.

`wire/` and `addon.py` also run inside mitmproxy's own environment, so they import the standard library alone.
"""

from __future__ import annotations

from pathlib import Path


def database_path() -> Path:
    """Return where this installation's proxy database is; it need not exist yet."""
    from django.conf import settings

    return Path(settings.DATA_DIR) / "proxy" / "proxy.sqlite3"
