"""The environment of a task: what it declares, what is guessed from its files, and the site's defaults."""

from typing import Any


def resolve(declared: dict[str, Any], detected: dict[str, Any] | None) -> dict[str, Any]:
    """Return the declared environment over the detected one over the site's settings."""
    return {**(detected or {}), **declared}
