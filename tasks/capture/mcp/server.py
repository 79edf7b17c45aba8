"""The MCP server on the official SDK. Importing this takes about a second: `front` does it in the background."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import anyio
import anyio.to_thread
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.stdio import stdio_server

from oneshot import __version__
from tasks.capture.client import Client
from tasks.capture.mcp import log, threads, tools
from tasks.capture.mcp.front import Front

PROGRESS_S = 1.0
DOING = {
    tools.START: "Taking a snapshot of the repository",
    tools.END: "Recording the changes and making the task draft",
    tools.CHECK: "Looking at the repository",
    tools.AUTOFIX: "Mending what can be mended",
}
AGENTS = {"codex": "codex", "claude": "claude_code"}


def serve(reader: int, front: Front, worktree: Path) -> None:
    """Speak MCP: read the client's lines from the descriptor `reader`, answer through `front`."""
    threading.Thread(target=_load_the_database, name="mcp-load", daemon=True).start()
    anyio.run(_serve, reader, front, worktree)


def make_server(worktree: Path) -> Server[Any]:
    """Return the server with its four tools, for sessions that work in `worktree`."""
    return Server(
        tools.NAME,
        version=__version__,
        instructions=tools.INSTRUCTIONS,
        on_list_tools=_list_tools,
        on_call_tool=partial(_call_tool, worktree),
    )


async def _serve(reader: int, front: Front, worktree: Path) -> None:
    server = make_server(worktree)
    lines = anyio.wrap_file(os.fdopen(reader, "r", encoding="utf-8", errors="replace", newline="\n"))
    async with stdio_server(stdin=lines, stdout=anyio.wrap_file(cast("IO[str]", _Answers(front)))) as (
        questions,
        answers,
    ):
        front.sdk_is_up.set()
        await server.run(questions, answers, server.create_initialization_options(NotificationOptions()))


class _Answers(io.TextIOBase):
    """The SDK's standard output: whole lines, handed to the front."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def write(self, text: str) -> int:
        self._front.pass_on(text)
        return len(text)


def _load_the_database() -> None:
    # The first call would have to wait for it; until then the client is waiting for its model anyway.
    from tasks.capture.mcp import calls

    try:
        calls.prepare()
    except Exception as error:  # noqa: BLE001 - the call that needs it fails with the same error, and says so
        log.write(f"the installation cannot be used: {error}")


async def _list_tools(
    context: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[types.Tool.model_validate(tool) for tool in tools.TOOLS])


async def _call_tool(
    worktree: Path, context: ServerRequestContext[Any], params: types.CallToolRequestParams
) -> types.CallToolResult:
    tool = tools.ALIASES.get(params.name)
    if tool is None:
        return _refused(f"Unknown tool: {params.name[:100]}")
    try:
        arguments = tools.checked(tool, params.arguments or {})
    except tools.BadArguments as error:
        return _refused(str(error))
    begun, client = time.monotonic(), _client(context)
    async with anyio.create_task_group() as group:
        group.start_soon(_tell_progress, context, DOING[tool])
        # Not abandoned when the client cancels or goes: a snapshot is taken whole.
        answer = await anyio.to_thread.run_sync(_answer, tool, arguments, worktree, client)
        group.cancel_scope.cancel()
    verdict = "ok" if answer.get("ok") else answer.get("code", "not ok")
    log.write(f"{tool} from {client.name or 'unknown'}: {verdict} after {time.monotonic() - begun:.2f} s")
    text = json.dumps(answer, indent=2, ensure_ascii=False)
    return types.CallToolResult(content=[types.TextContent(text=text)], structured_content=answer, is_error=False)


def _answer(tool: str, arguments: dict[str, Any], worktree: Path, client: Client) -> dict[str, Any]:
    from tasks.capture.mcp import calls

    return calls.answer(tool, arguments, worktree=worktree, client=client)


def _refused(message: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(text=message)], is_error=True)


async def _tell_progress(context: ServerRequestContext[Any], doing: str) -> None:
    """Tell a client that asked for it that the call is still at work; the figure is the seconds it has taken."""
    for seconds in range(1, 100_000):
        await anyio.sleep(PROGRESS_S)
        await context.session.report_progress(seconds * PROGRESS_S, message=f"{doing} ({seconds * PROGRESS_S:.0f} s)")


def _client(context: ServerRequestContext[Any]) -> Client:
    """Return who calls: from the handshake, and the thread from what agents send along or set in the environment."""
    hello = context.session.client_params
    name = hello.client_info.name if hello else ""
    version = hello.client_info.version if hello else ""
    agent = next((kind for word, kind in AGENTS.items() if word in name.lower()), "")
    meta: dict[str, Any] = dict(context.meta or {})
    turn = meta.get("x-codex-turn-metadata")
    sent = [meta.get("threadId"), meta.get("sessionId"), turn.get("thread_id") if isinstance(turn, dict) else None]
    if agent == "claude_code":
        sent.append(threads.claude_session(str(meta.get("claudecode/toolUseId", ""))))
    thread = next((value for value in sent if isinstance(value, str) and value), "")
    return Client(agent=agent, thread_id=thread[:200], version=version[:40], name=name[:100])
