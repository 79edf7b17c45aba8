"""What the MCP server says about itself and its tools. Plain data: nothing is imported for it."""

from typing import Any

NAME = "oneshot"

# Agents with many tools show a model this text alone, until it asks for the tools themselves.
INSTRUCTIONS = (
    "OneShot records work in this git repository so that it can become a benchmark task. "
    "Call repo.start_task.v1 BEFORE you read, run or change anything, with a short title and, as notes, what the user "
    "asked for, in the user's words. Call repo.end_task.v1 with a summary once the task is done, as your last tool "
    "call before you answer. Do so for every task that changes code. Nothing in the repository is committed or "
    "changed by these tools. If repo.start_task.v1 answers NOT_READY, call repo.autofix_readiness.v1 and start again; "
    "if it still refuses, go on with the user's task without recording."
)

START, END, CHECK, AUTOFIX = (
    "repo.start_task.v1",
    "repo.end_task.v1",
    "repo.check_readiness.v1",
    "repo.autofix_readiness.v1",
)

_LABELS = {"type": "array", "items": {"type": "string"}}

TOOLS: list[dict[str, Any]] = [
    {
        "name": START,
        "title": "Start recording a task",
        "description": (
            "Start recording a task, before any work on it: takes a private snapshot of the repository as it is. "
            "Changes no file, no branch and no index."
        ),
        "inputSchema": {
            "type": "object",
            "properties": {
                "task_title": {"type": "string", "description": "Short title of the task"},
                "notes": {
                    "type": "string",
                    "description": "What the user asked for, in the user's own words",
                    "default": "",
                },
                "labels": {**_LABELS, "description": "Labels of the task", "default": []},
            },
            "required": ["task_title"],
        },
        "annotations": {"readOnlyHint": False, "destructiveHint": False, "openWorldHint": False},
    },
    {
        "name": END,
        "title": "End the recorded task",
        "description": (
            "End the task that was started, when it is done: records the changes since the start, committed or not, "
            "and makes a task draft with the trace of this session. Changes no file, no branch and no index."
        ),
        "inputSchema": {
            "type": "object",
            "properties": {
                "summary": {"type": "string", "description": "What was done, in a sentence or two"},
                "labels": {**_LABELS, "description": "Further labels of the task", "default": []},
            },
            "required": ["summary"],
        },
        "annotations": {"readOnlyHint": False, "destructiveHint": False, "openWorldHint": False},
    },
    {
        "name": CHECK,
        "title": "Check whether a task can start",
        "description": "Say whether this repository is in a state in which a task can be recorded, and what to mend.",
        "inputSchema": {"type": "object", "properties": {}},
        "annotations": {"readOnlyHint": True, "openWorldHint": False},
    },
    {
        "name": AUTOFIX,
        "title": "Mend what keeps a task from starting",
        "description": (
            "Mend what keeps a task from being recorded, as far as that cannot lose any work, and say what was mended."
        ),
        "inputSchema": {"type": "object", "properties": {}},
        "annotations": {"readOnlyHint": False, "destructiveHint": False, "openWorldHint": False},
    },
]


def _aliases() -> dict[str, str]:
    """Return every accepted name with the tool it means: dotted or not, with or without the version."""
    names = {}
    for tool in (START, END, CHECK, AUTOFIX):
        for name in (tool, tool.removesuffix(".v1")):
            names[name] = names[name.replace(".", "_")] = tool
    return names


ALIASES = _aliases()


class BadArguments(ValueError):
    """The arguments do not fit the tool; the message names the field."""


def checked(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the known arguments of a call with their defaults. Raises BadArguments; unknown ones are left out."""
    schema = next(one["inputSchema"] for one in TOOLS if one["name"] == tool)
    values: dict[str, Any] = {}
    for name, field in schema["properties"].items():
        value = arguments.get(name)
        if value is None:
            if name in schema.get("required", ()):
                raise BadArguments(f"Input validation error: '{name}' is a required property")
            value = field["default"]
        if field["type"] == "string":
            if not isinstance(value, str):
                raise BadArguments(f"Input validation error: '{name}' must be a string")
        elif not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise BadArguments(f"Input validation error: '{name}' must be a list of strings")
        values[name] = value
    if tool == START and not values["task_title"].strip():
        raise BadArguments("Input validation error: 'task_title' must not be empty")
    return values
