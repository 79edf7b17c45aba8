"""Which installation a command belongs to that is called from inside someone's own repository.

`oneshot codex`, `oneshot claude` and `oneshot capture` run where a person works, not where OneShot keeps its data.
Neither a `var/` nor a `.env` of that repository may be taken for OneShot's. Standard library only: this runs before
anything slow is imported.
"""

import contextlib
import os
import tempfile
from pathlib import Path

DATABASE = "oneshot.sqlite3"

_started_in: Path | None = None


class NoInstallation(Exception):
    """No data directory was named, and none is known on this machine; the message says how to name one."""


def started_in() -> Path:
    """Return the directory in which the person called the command."""
    return _started_in or Path.cwd()


def data_dir(start: Path | None = None) -> Path:
    """Return the data directory that a command called in `start` (None: here) works with.

    ONESHOT_DATA_DIR, else `var/` here when this is no repository, else the one that was used last by `up` or
    `capture install`, else that of the checkout this code lies in. Raises NoInstallation.
    """
    here = start or Path.cwd()
    if named := os.environ.get("ONESHOT_DATA_DIR", "").strip():
        return (here / named).resolve()
    if (here / "var" / DATABASE).is_file() and not _in_a_repository(here):
        return (here / "var").resolve()
    with contextlib.suppress(OSError, ValueError):
        known = Path(_memory().read_text(encoding="utf-8").strip())
        if known.is_absolute() and known.is_dir():
            return known
    checkout = Path(__file__).resolve().parent.parent
    if (checkout / "manage.py").is_file():
        return checkout / "var"
    raise NoInstallation(
        "It is not known where OneShot keeps its data. Set ONESHOT_DATA_DIR to the var/ directory that `oneshot up` "
        "made, or run `oneshot capture install codex` there once."
    )


def enter() -> Path:
    """Make this process work for the installation wherever it was called, and return the data directory.

    Settings read `.env` from the current directory, which becomes the one beside the data. Raises NoInstallation.
    """
    global _started_in
    _started_in = Path.cwd()
    directory = data_dir(_started_in)
    os.environ["ONESHOT_DATA_DIR"] = str(directory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chdir(directory if (directory / ".env").is_file() else directory.parent)
    return directory


def remember(directory: Path) -> None:
    """Let later commands find this data directory from anywhere. A home that cannot be written is left alone."""
    with contextlib.suppress(OSError):
        place = _memory()
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=place.parent, prefix=".data_dir-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{directory.resolve()}\n")
        Path(temporary).replace(place)


def _memory() -> Path:
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return base / "oneshot" / "data_dir"


def _in_a_repository(path: Path) -> bool:
    return any((folder / ".git").exists() for folder in (path, *path.parents))
