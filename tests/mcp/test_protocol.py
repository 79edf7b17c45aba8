"""The MCP server on the wire: the original's requests, the SDK's client, and clients that go away."""

import json
import os
import signal
import threading
import time
from io import BytesIO

import anyio
import pytest
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from tasks.capture.client import Client
from tasks.capture.mcp import calls, front, tools
from tests.installation import wait_for
from tests.mcp.speaking import SERVER, environment, rows, said

KEYS = {"ok", "task_slug", "start_commit", "started_at"}
END_KEYS = {"ok", "task_dir", "diff_bytes", "touched_files", "clean_trace_path"}


def test_the_originals_session_gets_the_originals_answers(office):
    client, repository, hello = office.client, office.repository, office.client.greeting
    assert hello["protocolVersion"] == "2024-11-05"
    assert hello["serverInfo"]["name"] == "oneshot"
    assert "repo.start_task.v1 BEFORE" in hello["instructions"]
    listed = client.ask("tools/list")["result"]["tools"]
    assert [tool["name"] for tool in listed] == [tools.START, tools.END, tools.CHECK, tools.AUTOFIX]

    assert said(client.call("repo_check_readiness_v1"))["ok"] is True
    ended = said(client.call("repo_end_task_v1", {"summary": "nothing started"}))
    assert (ended["ok"], ended["code"]) == (False, "NO_STATE")
    started = said(client.call("repo_start_task_v1", {"task_title": "Demo", "notes": "n", "labels": ["a"]}))
    assert started["ok"] is True
    assert set(started) >= KEYS
    assert started["task_slug"].startswith("demo_")
    (repository / "adder.py").write_text("def add(a, b):\n    return a + b\n")
    (repository / "new.txt").write_text("new\n")
    ended = said(client.call("repo_end_task_v1", {"summary": "done"}))
    assert ended["ok"] is True, ended
    assert set(ended) >= END_KEYS
    assert sorted(ended["touched_files"]) == ["adder.py", "new.txt"]
    assert ended["diff_bytes"] > 0
    assert ended["url"].endswith(f"/tasks/{ended['task']}/")

    bogus = client.call("bogus")
    assert (bogus["isError"], bogus["content"][0]["text"]) == (True, "Unknown tool: bogus")
    untitled = client.call("repo_start_task_v1")
    assert untitled["isError"]
    assert "'task_title' is a required property" in untitled["content"][0]["text"]
    assert client.ask("ping")["result"] == {}
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in client.lines)


@pytest.mark.parametrize(
    "name", ["repo.check_readiness.v1", "repo_check_readiness_v1", "repo.check_readiness", "repo_check_readiness"]
)
def test_every_spelling_of_a_name_is_the_tool(name):
    assert tools.ALIASES[name] == tools.CHECK


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"task_title": " "}, "must not be empty"),
        ({"task_title": 3}, "'task_title' must be a string"),
        ({"task_title": "x", "labels": "a"}, "'labels' must be a list of strings"),
        ({"task_title": "x", "labels": [1]}, "'labels' must be a list of strings"),
    ],
)
def test_arguments_that_do_not_fit_are_named(arguments, says):
    with pytest.raises(tools.BadArguments, match=says):
        tools.checked(tools.START, arguments)


@pytest.mark.django_db
def test_a_folder_without_git_is_not_ready_and_says_why(tmp_path):
    answer = calls.DOING[tools.START](tmp_path, Client(), **tools.checked(tools.START, {"task_title": "Demo"}))
    assert answer["ok"] is False
    assert answer["code"] in ("NOT_READY", "BAD_REPOSITORY")
    assert answer["message"]


def test_the_sdks_own_client_gets_along(data_dir, repository):
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    env = environment(data_dir, data_dir.parent)
    server = StdioServerParameters(command=SERVER[0], args=SERVER[1:], env=env, cwd=repository)

    async def talk():
        async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
            hello = await session.initialize()
            listed = await session.list_tools()
            result = await session.call_tool(tools.START, {"task_title": "Demo"})
            return hello, listed, result

    hello, listed, result = anyio.run(talk)
    assert hello.server_info.name == "oneshot"
    assert len(listed.tools) == 4
    assert result.structured_content["ok"] is True


def _ask_the_sdk(lines, monkeypatch, tmp_path):
    """Return what the SDK says to these lines when nothing was answered before it."""
    from tasks.capture.mcp import server

    monkeypatch.setattr(server, "_load_the_database", lambda: None)
    answers = BytesIO()
    reader, writer = os.pipe()
    os.write(writer, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    thread = threading.Thread(target=server.serve, args=(reader, front.Front(answers), tmp_path))
    thread.start()
    wait_for(lambda: answers.getvalue().count(b"\n") >= sum("id" in line for line in lines), "the answers", 20)
    os.close(writer)
    thread.join(20)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


@pytest.mark.parametrize("version", [*HANDSHAKE_PROTOCOL_VERSIONS, "1999-01-01"])
def test_what_is_answered_early_is_what_the_sdk_would_have_said(version, monkeypatch, tmp_path):
    hello = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "lab", "version": "0"}}
    lines = [
        {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": "list", "method": "tools/list", "params": {"_meta": {"progressToken": 0}}},
    ]
    early = BytesIO()
    one = front.Front(early)
    for line in lines:
        one.hear(json.dumps(line).encode())
    spoken = {answer["id"]: answer["result"] for answer in _ask_the_sdk(lines, monkeypatch, tmp_path)}
    foreseen = {answer["id"]: answer["result"] for answer in map(json.loads, early.getvalue().splitlines())}
    assert foreseen[0] == spoken[0]
    for foretold, told in zip(foreseen["list"]["tools"], spoken["list"]["tools"], strict=True):
        assert {key: told[key] for key in foretold} == foretold


def test_an_early_answer_is_not_given_twice():
    out = BytesIO()
    one = front.Front(out)
    one.hear(b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}')
    one.pass_on('{"jsonrpc":"2.0","id":1,"result":{}}\n')
    one.pass_on('{"jsonrpc":"2.0","id":1,"method":"roots/list"}\n')
    one.pass_on('{"jsonrpc":"2.0","id":2,"result":{}}\n')
    assert [json.loads(line).get("method", "answer") for line in out.getvalue().splitlines()] == [
        "answer",
        "roots/list",
        "answer",
    ]


def test_it_says_hello_within_a_second(speak):
    begun = time.monotonic()
    client = speak()
    client.hello()
    client.ask("tools/list")
    # A second is what agents give a server. The figure on an idle machine is a tenth of that: tests/perf/mcp_start.py.
    assert time.monotonic() - begun < 1


def test_it_says_that_it_is_at_work_to_those_who_asked(office):
    client = office.client
    number = client.request("tools/call", {"name": tools.CHECK, "arguments": {}, "_meta": {"progressToken": "token"}})
    assert client.answer(number)["result"]["isError"] is False
    for line in client.lines:
        message = json.loads(line)
        if message.get("method") == "notifications/progress":
            assert message["params"]["progressToken"] == "token"


def test_a_client_that_talks_nonsense_and_hangs_up_in_a_call_leaves_an_open_capture(speak, data_dir):
    client = speak()
    client.send(b"this is not JSON\n[1, 2]\n\n{}\n\xff\xfe\n")
    client.hello()
    assert len(client.ask("tools/list")["result"]["tools"]) == 4
    client.request("tools/call", {"name": tools.START, "arguments": {"task_title": "Demo"}})
    assert client.hang_up() == 0
    (row,) = rows(data_dir, "SELECT status, start_commit FROM tasks_capture")
    assert row["status"] == "open"
    assert len(row["start_commit"]) == 40
    assert all(json.loads(line)["jsonrpc"] == "2.0" for line in client.lines)


def test_asked_to_stop_it_finishes_what_it_does(speak, data_dir):
    client = speak()
    client.hello()
    client.request("tools/call", {"name": tools.START, "arguments": {"task_title": "Demo"}})
    client.process.send_signal(signal.SIGTERM)
    assert client.process.wait(60) == 0
    assert len(rows(data_dir, "SELECT id FROM tasks_capture WHERE status = 'open'")) <= 1


def test_killed_in_a_call_it_leaves_nothing_half_done(speak, office):
    before = len(rows(office.data_dir, "SELECT id FROM tasks_task"))
    client = speak(office.repository, office.data_dir)
    client.hello()
    client.call(tools.START, {"task_title": "First"})
    (office.repository / "adder.py").write_text("changed\n")
    client.request("tools/call", {"name": tools.END, "arguments": {"summary": "done"}})
    client.process.kill()
    client.process.wait(10)
    ended = said(office.client.call(tools.END, {"summary": "done"}))
    assert ended["ok"] or ended["code"] == "NO_STATE"
    assert len(rows(office.data_dir, "SELECT id FROM tasks_task")) <= before + 1


def test_threads_are_told_apart_by_what_agents_send(speak, data_dir):
    # Both at once, so that the one loads while the other does.
    client = speak()
    other = speak(CLAUDE_CODE_SESSION_ID="11111111-2222-4333-8444-555555555555")
    client.hello("codex-mcp-client", "2025-06-18")
    other.hello("claude-code", "2025-11-25")
    meta = {"threadId": "01a1-thread", "x-codex-turn-metadata": {"thread_id": "other"}}
    assert said(client.call(tools.START, {"task_title": "Demo"}, meta))["ok"]
    assert said(other.call(tools.START, {"task_title": "Other"}))["ok"]
    found = {row["agent"]: row["thread_id"] for row in rows(data_dir, "SELECT agent, thread_id FROM tasks_capture")}
    assert found == {"codex": "01a1-thread", "claude_code": "11111111-2222-4333-8444-555555555555"}


def test_three_at_once_on_a_new_installation(speak, git_repository, tmp_path):
    folder = tmp_path / "new" / "var"
    clients = [speak(git_repository({"a.txt": "a\n"}, f"repo{number}"), folder) for number in range(3)]
    for client in clients:
        client.hello()
    numbers = [
        client.request("tools/call", {"name": tools.START, "arguments": {"task_title": "Same title"}})
        for client in clients
    ]
    answers = [said(client.answer(number)["result"]) for client, number in zip(clients, numbers, strict=True)]
    assert all(answer["ok"] for answer in answers), answers
    assert len({answer["task_slug"] for answer in answers}) == 3
    for client in clients:
        assert client.hang_up() == 0
        assert all(json.loads(line)["jsonrpc"] == "2.0" for line in client.lines)


def test_a_database_that_is_none_is_told_and_the_server_lives_on(speak, tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "oneshot.sqlite3").write_bytes(b"this is not a database" * 100)
    client = speak(directory=folder)
    client.hello()
    answer = said(client.call(tools.START, {"task_title": "Demo"}))
    assert (answer["ok"], answer["code"]) == (False, "INTERNAL_ERROR")
    assert "database" in answer["message"]
    assert client.ask("ping")["result"] == {}


def test_the_log_says_what_was_called_and_keeps_no_words_of_the_user(office):
    office.client.call(tools.START, {"task_title": "A very private title", "notes": "sk-proj-0123456789abcdefghij"})
    office.client.call(tools.END, {"summary": "a private title"})
    log = (office.data_dir / "logs" / "mcp.log").read_text()
    assert "repo.start_task.v1 from lab: ok" in log
    assert "private title" not in log
    assert "sk-proj" not in log


def test_neither_settings_nor_code_of_the_repository_are_taken_for_oneshots(office):
    assert "nowhere" in (office.repository / ".env").read_text()
    assert "code of the repository" in (office.repository / "oneshot" / "__init__.py").read_text()
    assert said(office.client.call(tools.START, {"task_title": "Demo"}))["ok"]
    assert said(office.client.call(tools.END, {"summary": "done"}))["ok"]
