"""What calls of tools mean: their names, the command line of a shell, the diff that an edit asks for."""

from __future__ import annotations

import re
from typing import Any

from traces.readers import patches, values
from traces.readers.values import items, mapping, text

# What Codex adds to a conversation by itself, in the user's name.
SURROUNDINGS = re.compile(
    r"\s*(<(environment_context|user_instructions|permissions|skills_instructions|collaboration_mode|turn_aborted"
    r"|multi_agent|INSTRUCTIONS|skill|subagent)|# AGENTS\.md instructions)"
)
SHELLS = {"shell", "exec_command", "local_shell", "container.exec", "shell_command"}
# Claude Code's.
EDITS = {"Edit", "MultiEdit", "Write", "NotebookEdit"}


def tool_name(payload: dict[str, Any]) -> str:
    name = text(payload.get("name")) or text(payload.get("type")).removesuffix("_call")
    namespace = text(payload.get("namespace"))
    separator = "__" if namespace.startswith("mcp__") else "."
    return (f"{namespace}{separator}{name}" if namespace else name)[:200]


def command_of(name: str, given: object) -> str | None:
    """Return the command line of a shell's call, or None for any other tool."""
    if name.rpartition(".")[2] not in SHELLS and name not in SHELLS:
        return None
    if isinstance(given, str):
        try:
            given = values.parsed(given)
        except ValueError:
            return None
    arguments = mapping(given)
    command = arguments.get("cmd", arguments.get("command"))
    if isinstance(command, list):
        argv = [part for part in command if isinstance(part, str)]
        return argv[2] if len(argv) == 3 and argv[1] in ("-c", "-lc") else " ".join(argv)
    return text(command)


def asked_edit(path: str, name: str, given: dict[str, Any]) -> str:
    """Return the diff that an edit asks for."""
    if name == "Write":
        return patches.whole_file(path, text(given.get("content")), "added")
    edits = items(given.get("edits")) or [given]
    return "".join(
        patches.replaced(path, text(mapping(edit).get("old_string")), text(mapping(edit).get("new_string")))
        for edit in edits[:200]
    )
