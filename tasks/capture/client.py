"""Who asked for a capture: the agent, its thread, and the program that spoke for it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Client:
    """The other side of a capture. Every field is "" where it is unknown.

    `agent` is "codex", "claude_code" or "" for a person; `thread_id` is the agent's own id of the session, by which
    its trace and transcript are found; `version` is the agent's; `name` is what the program calls itself, such as
    "codex-mcp-client" or "command line".
    """

    agent: str = ""
    thread_id: str = ""
    version: str = ""
    name: str = ""
