"""Reads and writes a sandbox's files from the host, without ever following a link that the sandbox made."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from runs.sandboxes.base import FileTooLarge

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def read(root: Path, parts: tuple[str, ...], max_bytes: int) -> bytes:
    """Return a regular file's bytes. Raises FileNotFoundError for anything else or a link on the way, FileTooLarge."""
    if not parts:
        raise FileNotFoundError("It is a directory.")
    with _descend(root, parts[:-1], owner=None, make=False) as directory:
        # NONBLOCK: opening a named pipe would wait for ever.
        number = _open_file(parts[-1], directory)
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            os.close(number)
            raise FileNotFoundError("It is not a regular file.")
        with open(number, "rb") as file:  # noqa: PTH123
            if status.st_size > max_bytes:
                raise FileTooLarge(f"It has {status.st_size} bytes; at most {max_bytes} are read.")
            data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise FileTooLarge(f"It has more than {max_bytes} bytes.")
    return data


def write(root: Path, parts: tuple[str, ...], data: bytes, mode: int, owner: int | None) -> None:
    """Write a file whole or not at all; what stands in its way, or in a directory's, is replaced. Raises OSError."""
    with _descend(root, parts[:-1], owner=owner, make=True) as directory:
        name, new = parts[-1], f".oneshot-{secrets.token_hex(8)}"
        number = os.open(
            new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory
        )
        try:
            with open(number, "wb") as file:  # noqa: PTH123
                file.write(data)
                if owner is not None:
                    os.fchown(number, owner, owner)
                os.fchmod(number, mode)
            _clear(name, directory, keep=stat.S_ISREG)
            os.replace(new, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(new, dir_fd=directory)
            raise


def _open_file(name: str, directory: int) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        raise
    except OSError as error:
        # ELOOP for a link; ENXIO for a socket; EACCES where the agent has closed its own file to everybody.
        raise FileNotFoundError(f"It cannot be read: {error.strerror}.") from error


@contextlib.contextmanager
def _descend(root: Path, parts: tuple[str, ...], *, owner: int | None, make: bool) -> Iterator[int]:
    """Give a descriptor of the directory `parts` below `root`. Raises FileNotFoundError, or OSError when making."""
    current = os.open(root, _DIRECTORY)
    try:
        for name in parts:
            if make:
                _clear(name, current, keep=stat.S_ISDIR)
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=current)
                    if owner is not None:
                        os.chown(name, owner, owner, dir_fd=current, follow_symlinks=False)
            try:
                below = os.open(name, _DIRECTORY, dir_fd=current)
            except OSError as error:
                if make:
                    raise
                raise FileNotFoundError(f"{name} is no directory that can be entered: {error.strerror}.") from error
            os.close(current)
            current = below
        yield current
    finally:
        os.close(current)


def _clear(name: str, directory: int, *, keep) -> None:
    """Remove an entry unless its kind is to be kept, or there is none."""
    try:
        mode = os.lstat(name, dir_fd=directory).st_mode
    except FileNotFoundError:
        return
    if keep(mode):
        return
    if stat.S_ISDIR(mode):
        shutil.rmtree(name, dir_fd=directory)
    else:
        os.unlink(name, dir_fd=directory)
