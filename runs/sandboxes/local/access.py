"""Lets a user that owns nothing else walk through closed directories to its sandbox, without reading on the way.

Only for plain processes started by root: with walls, root itself makes the sandbox's files visible inside.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import struct
import sys
from pathlib import Path

from django.conf import settings

from runs.sandboxes.local.plan import python_prefix

logger = logging.getLogger(__name__)

# What sandboxes have to reach below the data directory; everything else there is closed to them.
OPEN = ("sandboxes", "images", "agents")
# A group that nobody is in but sandboxes of this kind; it may pass closed directories, and nothing more.
PASSAGE_GID = 65_533

# POSIX access control lists as Linux keeps them: version, then (tag, rights, id) in the order of the tags.
_ACL = "system.posix_acl_access"
_VERSION, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
_USER_OBJ, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x04, 0x08, 0x10, 0x20
_NO_ID = 0xFFFFFFFF
_EXECUTE = 1


def open_way(image: Path, sandboxes: Path) -> bool:
    """Make every directory above the image, the sandboxes and Python passable for sandboxes; False if one cannot be.

    Whatever else lies in the data directory is closed to others first.
    """
    close_others(Path(settings.DATA_DIR))
    ways = [image.resolve() / "work", sandboxes.resolve() / "x", Path(sys.executable).resolve()]
    prefix = python_prefix()
    if prefix:
        ways.append(prefix / "x")
    return all(_open(directory) for way in ways for directory in reversed(way.parents))


def close_others(data: Path) -> None:
    """Take from others every right on what lies in the data directory, but for the sandboxes, images and agents."""
    with os.scandir(data) as entries:
        for entry in entries:
            if entry.name in OPEN or entry.is_symlink():
                continue
            with contextlib.suppress(FileNotFoundError):
                mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
                if mode & 0o007:
                    Path(entry.path).chmod(mode & ~0o007)


def _open(directory: Path) -> bool:
    """Let the group pass through a directory. Not others: on a shared machine they have no business there."""
    try:
        mode = directory.stat().st_mode
        if mode & stat.S_IXOTH:
            return True
        grant_passage(directory, PASSAGE_GID)
        return True
    except OSError as error:
        logger.info("%s stays closed to sandboxes: %s", directory, error)
        return False


def grant_passage(directory: Path, gid: int) -> None:
    """Add "group gid may pass" to a directory's access control list. Raises OSError where there are no such lists."""
    entries = _entries(directory)
    mask = next((rights for tag, rights, _ in entries if tag == _MASK), None)
    # A chmod of the directory keeps the entry but takes it out of the mask.
    if (_GROUP, _EXECUTE, gid) in entries and mask is not None and mask & _EXECUTE:
        return
    entries = [(tag, rights, who) for tag, rights, who in entries if (tag, who) != (_GROUP, gid)]
    if mask is None:
        # So far the group's own rights were the mask.
        mask = next(rights for tag, rights, _ in entries if tag == _GROUP_OBJ)
    entries = [entry for entry in entries if entry[0] != _MASK]
    entries += [(_GROUP, _EXECUTE, gid), (_MASK, mask | _EXECUTE, _NO_ID)]
    entries.sort(key=lambda entry: (entry[0], entry[2]))
    packed = _VERSION.pack(2) + b"".join(_ENTRY.pack(*entry) for entry in entries)
    os.setxattr(directory, _ACL, packed)


def _entries(directory: Path) -> list[tuple[int, int, int]]:
    try:
        packed = os.getxattr(directory, _ACL)
        return list(_ENTRY.iter_unpack(packed[_VERSION.size :]))
    except OSError:
        mode = directory.stat().st_mode
        rights = {_USER_OBJ: mode >> 6 & 7, _GROUP_OBJ: mode >> 3 & 7, _OTHER: mode & 7}
        return [(tag, value, _NO_ID) for tag, value in rights.items()]
