"""The programs that go into the sandbox, as bytes."""

from functools import cache
from pathlib import Path

INSIDE = Path(__file__).parent / "inside"


@cache
def program(name: str) -> bytes:
    """Return a file of `inside/`."""
    return (INSIDE / name).read_bytes()
