"""Registers the MCP server with an agent, in the agent's own configuration file, and takes it out again.

A file is changed as little as possible, checked before it is written, written whole, and kept as it was beside itself
(`<name>.before-oneshot`). What was changed is noted in the data directory, so that uninstalling can put the very same
bytes back as long as nobody else has changed the file; else only our own entry is taken out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import stat
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from tasks.capture.stanza import GRACE_MS, NAME, STARTUP_S, TOOL_S, Stanza

Document = dict[str, Any]
SHIM = "codex-synth"
SHIM_MARK = "# made by `oneshot capture install shim`"
GRACE = "mcp_optional_startup_grace_ms"


class CannotInstall(Exception):
    """A configuration file cannot be changed safely; nothing was written. The message names the file and the mend."""


@dataclass(frozen=True)
class Installed:
    """What happened to one file: `change` is "added", "updated", "unchanged", "removed", "restored" or "absent"."""

    path: Path
    change: str
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """A configuration file, and how our entry is put into its text and taken out of it."""

    path: Path
    read: Callable[[str], Document]
    put: Callable[[str, Stanza], str]
    take: Callable[[str, Any], str]
    servers: str
    notes: list[str] = field(default_factory=list)

    def entry(self, text: str) -> Any:
        """Return our entry in this text; None when it has none."""
        return self.read(text).get(self.servers, {}).get(NAME)


def place(agent: str, *, project: Path | None) -> Place:
    """Return where `agent` ("codex" or "claude") keeps its MCP servers: for the user, or for one project."""
    if agent == "codex":
        home = Path(os.environ.get("CODEX_HOME") or Path.home() / ".codex")
        notes = ["Codex reads a project's file only in projects that it trusts."] if project else []
        path = (project / ".codex" if project else home) / "config.toml"
        return Place(path, _read_toml, _put_toml, _take_toml, "mcp_servers", notes)
    base = os.environ.get("CLAUDE_CONFIG_DIR")
    path = project / ".mcp.json" if project else (Path(base) if base else Path.home()) / ".claude.json"
    notes = []
    if project:
        notes.append("Claude Code asks once whether the servers of this project may be used.")
        notes.append(f"{path.name} names paths of this machine: better not commit it.")
    return Place(path, _read_json, _put_json, _take_json, "mcpServers", notes)


def install(where: Place, stanza: Stanza, *, records: Path) -> Installed:
    """Put our entry into the file, once. Raises CannotInstall, and nothing is changed then."""
    path = _target(where.path)
    before = _bytes(path)
    old = _text(before, path)
    new = _changed(where, path, old, lambda: where.put(old, stanza))
    notes = [*stanza.notes, *where.notes]
    if new == old:
        return Installed(where.path, "unchanged", notes)
    record = _record(records, path)
    touched_since = before is not None and bool(record) and record.get("sha256") != _sha(before)
    ours = bool(record) and where.entry(old) is not None
    if not ours:
        record = {"path": str(path), "existed": before is not None, "edited": False}
        if before is not None:
            backup = _backup_path(path)
            _write(backup, before, like=path)
            record["backup"] = str(backup)
            notes.append(f"The file as it was is kept in {backup}.")
    elif touched_since:
        record["edited"] = True
    data = new.encode()
    _write(path, data, like=path, expected=before)
    _keep_record(records, path, {**record, "sha256": _sha(data)})
    if path != where.path:
        notes.append(f"{where.path} is a link; {path} was changed.")
    return Installed(where.path, "updated" if ours else "added", notes)


def uninstall(where: Place, *, records: Path) -> Installed:
    """Take our entry out of the file: the bytes from before if nobody else changed it. Raises CannotInstall."""
    path = _target(where.path)
    now = _bytes(path)
    record = _record(records, path)
    backup = Path(record["backup"]) if record.get("backup") else None
    if now is None or where.entry(_parsable(where, path, now)) is None:
        _forget(records, path, backup)
        return Installed(where.path, "absent")
    kept = _bytes(backup) if backup else None
    if (
        record
        and not record.get("edited")
        and record["sha256"] == _sha(now)
        and (kept is not None or not record["existed"])
    ):
        if kept is None:
            path.unlink()
        else:
            _write(path, kept, like=path, expected=now)
        _forget(records, path, backup)
        return Installed(where.path, "restored")
    old = _text(now, path)
    earlier = where.entry(_text(kept, path)) if kept is not None else None
    new = _changed(where, path, old, lambda: where.take(old, earlier))
    _write(path, new.encode(), like=path, expected=now)
    _forget(records, path, backup)
    return Installed(where.path, "removed", ["The file was changed since; only OneShot's entry was taken out."])


def install_shim(directory: Path, command: list[str], data_dir: Path) -> Installed:
    """Write a `codex-synth` that runs `oneshot codex`. Raises CannotInstall when a file of that name is not ours."""
    path = directory / SHIM
    words = " ".join(shlex.quote(word) for word in command)
    text = (
        f"#!/bin/sh\n{SHIM_MARK}\nONESHOT_DATA_DIR=${{ONESHOT_DATA_DIR:-{shlex.quote(str(data_dir))}}}\n"
        f'export ONESHOT_DATA_DIR\nexec {words} codex "$@"\n'
    )
    before = _bytes(path)
    if before is not None and SHIM_MARK.encode() not in before:
        raise CannotInstall(f"{path} is there already and is not OneShot's. Move it away, or name another --dir.")
    notes = []
    if str(directory) not in os.environ.get("PATH", "").split(os.pathsep):
        notes.append(f"{directory} is not on your PATH.")
    if before == text.encode():
        return Installed(path, "unchanged", notes)
    _write(path, text.encode(), like=None, expected=before, mode=0o755)
    return Installed(path, "added" if before is None else "updated", notes)


def uninstall_shim(directory: Path) -> Installed:
    """Remove our `codex-synth`. Raises CannotInstall when the file is not ours."""
    path = directory / SHIM
    before = _bytes(path)
    if before is None:
        return Installed(path, "absent")
    if SHIM_MARK.encode() not in before:
        raise CannotInstall(f"{path} is not OneShot's, so it stays.")
    path.unlink()
    return Installed(path, "removed")


# TOML, for Codex


def _read_toml(text: str) -> Document:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CannotInstall(f"it is no valid TOML: {error}") from None


def _put_toml(text: str, stanza: Stanza) -> str:
    entry: Document = {
        "command": stanza.command,
        "args": stanza.args,
        "env": stanza.env,
        "startup_timeout_sec": STARTUP_S,
        "tool_timeout_sec": TOOL_S,
        "default_tools_approval_mode": "approve",
    }
    known = _read_toml(text)
    if known.get("mcp_servers", {}).get(NAME) == entry and GRACE in known:
        return text
    document = tomlkit.parse(text)
    expected = {**known, "mcp_servers": {**known.get("mcp_servers", {}), NAME: entry}}
    if GRACE not in known:
        # Codex waits only about a second for its servers; on a busy machine that is too short.
        document.add(GRACE, tomlkit.item(GRACE_MS))
        expected[GRACE] = GRACE_MS
    head = tomlkit.dumps(document)
    if NAME not in known.get("mcp_servers", {}):
        # At the end, so that not a byte of what the user wrote is moved.
        gap = "" if not head or head.endswith("\n\n") else "\n" if head.endswith("\n") else "\n\n"
        new = f"{head}{gap}[mcp_servers.{NAME}]\n{tomlkit.dumps(_filled(tomlkit.table(), entry))}"
        with contextlib.suppress(tomllib.TOMLDecodeError):
            if tomllib.loads(new) == expected:
                return new
    # There is one already, or the servers are written as an inline table or with dotted keys.
    servers: Any = document["mcp_servers"]
    servers[NAME] = _filled(tomlkit.table() if NAME in servers else tomlkit.inline_table(), entry)
    new = tomlkit.dumps(document)
    _expect(_read_toml(new), expected)
    return new


def _filled(table: Any, entry: Document) -> Any:
    for key, value in entry.items():
        item: Any = tomlkit.item(value)
        if isinstance(value, dict):
            item = tomlkit.inline_table()
            item.update(value)
        table.append(key, item)
    return table


def _take_toml(text: str, earlier: Any) -> str:
    known = _read_toml(text)
    document = tomlkit.parse(text)
    expected = {**known, "mcp_servers": dict(known["mcp_servers"])}
    if earlier is None:
        del document["mcp_servers"][NAME]
        del expected["mcp_servers"][NAME]
    else:
        document["mcp_servers"][NAME] = earlier
        expected["mcp_servers"][NAME] = earlier
    if known.get(GRACE) == GRACE_MS:
        del document[GRACE]
        del expected[GRACE]
    new = tomlkit.dumps(document)
    got = _read_toml(new)
    got.setdefault("mcp_servers", {})
    _expect(got, expected)
    return new


# JSON, for Claude Code


def _read_json(text: str) -> Document:
    try:
        document = json.loads(text or "{}")
    except ValueError as error:
        raise CannotInstall(f"it is no valid JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("mcpServers", {}), dict):
        raise CannotInstall("it is not an object with an object of mcpServers")
    return document


def _put_json(text: str, stanza: Stanza) -> str:
    document = _read_json(text)
    entry = stanza.as_json()
    if document.get("mcpServers", {}).get(NAME) == entry:
        return text
    document["mcpServers"] = {**document.get("mcpServers", {}), NAME: entry}
    return _dumped(document, text)


def _take_json(text: str, earlier: Any) -> str:
    document = _read_json(text)
    if earlier is None:
        del document["mcpServers"][NAME]
    else:
        document["mcpServers"][NAME] = earlier
    return _dumped(document, text)


def _dumped(document: Document, like: str) -> str:
    second = like.split("\n", 2)[1] if like.count("\n") > 1 else "  "
    indent = second[: len(second) - len(second.lstrip())] or "  "
    return json.dumps(document, indent=indent, ensure_ascii=False) + ("\n" if like.endswith("\n") or not like else "")


# Files


def _changed(where: Place, path: Path, old: str, change: Callable[[], str]) -> str:
    try:
        return change()
    except CannotInstall as error:
        raise CannotInstall(f"{path} was left as it is: {error}. Mend it, then try again.") from None
    except (TOMLKitError, KeyError, TypeError, AttributeError) as error:
        raise CannotInstall(
            f"{path} was left as it is: its form is one that cannot be changed safely ({type(error).__name__}). "
            f"Add or remove the entry {where.servers}.{NAME} by hand."
        ) from None


def _parsable(where: Place, path: Path, data: bytes) -> str:
    text = _text(data, path)
    _changed(where, path, text, lambda: str(where.read(text)))
    return text


def _expect(got: Document, expected: Document) -> None:
    if got != expected:
        raise CannotInstall("its form is one that cannot be changed safely; add or remove the entry by hand")


def _target(path: Path) -> Path:
    """Return the file itself, where `path` is a link to it: people keep such files in a repository of their own."""
    try:
        return path.resolve(strict=False)
    except (OSError, RuntimeError):
        raise CannotInstall(f"{path} is a link that leads nowhere. Remove it, then try again.") from None


def _bytes(path: Path) -> bytes | None:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise CannotInstall(f"{path} is not a file.")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise CannotInstall(f"{path} cannot be read: {error.strerror}.") from None


def _text(data: bytes | None, path: Path) -> str:
    try:
        return (data or b"").decode("utf-8")
    except UnicodeDecodeError as error:
        raise CannotInstall(f"{path} is not UTF-8 text (byte {error.start}). Mend it, then try again.") from None


def _write(path: Path, data: bytes, *, like: Path | None, expected: bytes | None = None, mode: int = 0o600) -> None:
    """Replace a file whole, with the permissions of `like`. Raises CannotInstall if it is no longer as `expected`."""
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if like is not None and like.exists():
                status = like.stat()
                mode = stat.S_IMODE(status.st_mode)
                with contextlib.suppress(PermissionError):
                    os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fchmod(file.fileno(), mode)
        if expected is not None and _bytes(path) != expected:
            raise CannotInstall(f"{path} was changed by another program just now. Try again.")
        Path(temporary).replace(path)
    except OSError as error:
        raise CannotInstall(f"{path} cannot be written: {error.strerror}. Nothing was changed.") from None
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def _backup_path(path: Path) -> Path:
    """Return a free name: a backup from an earlier time is never overwritten."""
    for number in range(1, 1000):
        name = path.with_name(f"{path.name}.before-oneshot{'' if number == 1 else f'-{number}'}")
        if not name.exists():
            return name
    raise CannotInstall(f"There are 999 backups of {path}. Remove some.")


def _record_path(records: Path, path: Path) -> Path:
    return records / f"{_sha(str(path).encode())[:32]}.json"


def _record(records: Path, path: Path) -> Document:
    try:
        return json.loads(_record_path(records, path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _keep_record(records: Path, path: Path, record: Document) -> None:
    _write(_record_path(records, path), json.dumps(record, indent=2).encode(), like=None)


def _forget(records: Path, path: Path, backup: Path | None) -> None:
    _record_path(records, path).unlink(missing_ok=True)
    if backup is not None:
        backup.unlink(missing_ok=True)


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
