"""The session that the work was done in comes with the draft: found by thread id, its first request as instructions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tasks import capture
from tasks.capture.client import Client
from tests.builders import make_team

pytestmark = pytest.mark.django_db

THREAD = "01a1b2c3-d4e5-7000-8000-00000000c0de"
CODEX = Client(agent="codex", thread_id=THREAD, version="0.169.0", name="codex-mcp-client")


@pytest.fixture
def codex_home(tmp_path, monkeypatch):
    """Where the agents keep their transcripts."""
    for name in ("CODEX_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    return tmp_path / "codex_home"


def message(role: str, text: str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def write_rollout(home: Path, cwd: Path, slug: str) -> None:
    """Write a session as Codex does: what it adds itself, the request, the call, a command, a correction."""
    folder = home / "sessions" / "2026" / "11" / "20"
    folder.mkdir(parents=True)
    meta = {
        **{"id": THREAD, "session_id": THREAD, "timestamp": "2026-11-20T15:00:00.000Z", "cwd": str(cwd)},
        **{"originator": "codex_exec", "cli_version": "0.169.0", "source": "exec", "model_provider": "local"},
        "git": {"commit_hash": "ab" * 20, "branch": "main"},
    }
    command = {
        **{"type": "CommandExecution", "id": "call_2", "command": ["bash", "-lc", "pip install -e ."], "cwd": str(cwd)},
        **{"aggregated_output": "ok", "exit_code": 0, "status": "completed", "duration": {"secs": 1, "nanos": 0}},
    }
    started = {
        **{"type": "McpToolCall", "id": "call_1", "server": "oneshot", "tool": "repo.start_task.v1"},
        **{"arguments": {"task_title": "Fix"}, "status": "completed"},
        "result": {"content": [{"type": "text", "text": json.dumps({"ok": True, "task_slug": slug})}]},
    }
    lines = [
        ("session_meta", meta),
        ("response_item", message("user", f"<environment_context>\n<cwd>{cwd}</cwd>\n</environment_context>")),
        ("response_item", message("user", "Please make add() add.\n\nKeep the signature.")),
        ("event_msg", {"type": "item_completed", "thread_id": THREAD, "turn_id": "t1", "item": started}),
        ("event_msg", {"type": "item_completed", "thread_id": THREAD, "turn_id": "t1", "item": command}),
        ("response_item", message("assistant", "Done.")),
        ("response_item", message("user", "No, you forgot floats.")),
    ]
    rows = [
        {"timestamp": f"2026-11-20T15:00:{number:02}.000Z", "ordinal": number, "type": kind, "payload": payload}
        for number, (kind, payload) in enumerate(lines)
    ]
    path = folder / f"rollout-2026-11-20T15-00-00-{THREAD}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_transcript_is_found_by_its_thread_and_says_what_was_asked(repository, codex_home):
    row = capture.start(worktree=repository.path, title="Fix", notes="as told", client=CODEX)
    write_rollout(codex_home, repository.path, row.slug)
    repository.write("adder.py", "def add(a, b):\n    return a + b\n")
    ended = capture.end(row, client=CODEX)
    version, session = ended.version, ended.task.session
    assert session is not None
    assert session.thread_id == THREAD
    assert version.instructions == "Please make add() add.\n\nKeep the signature."
    assert version.provenance["thread_id"] == THREAD
    assert version.provenance["environment_hints"]["commands"] == ["pip install -e ."]
    assert json.loads(ended.trace_path.read_text())["session_id"] == THREAD
    assert "Please make add() add." in ended.task.rubrics.get().criteria.first().text


def test_without_a_trace_the_draft_is_made_from_the_notes_and_says_so(repository, codex_home):
    row = capture.start(worktree=repository.path, title="Fix", notes="Make add() add.", client=CODEX)
    ended = capture.end(row, client=CODEX)
    assert ended.task.session is None
    assert ended.trace_path is None
    assert "Make add() add." in ended.version.instructions
    assert ended.version.provenance["instructions_from"] == "notes"
    assert any(f"No trace of the session {THREAD} was found" in note for note in ended.notes)


def test_an_agent_that_does_not_say_its_thread_is_found_by_the_answer_it_got(repository, codex_home, tmp_path):
    unknown = Client(agent="claude_code", version="2.1.197", name="claude-code")
    row = capture.start(worktree=repository.path, title="Fix", client=unknown)
    folder = tmp_path / "claude_config_dir" / "projects" / "-work"
    folder.mkdir(parents=True)
    common = {"sessionId": THREAD, "cwd": str(repository.path), "version": "2.1.197", "isSidechain": False}
    answer = [{"type": "tool_result", "tool_use_id": "t1", "content": json.dumps({"start_commit": row.start_commit})}]
    rows = [
        {"type": "user", "uuid": "1", "message": {"role": "user", "content": "Make it add."}},
        {"type": "user", "uuid": "2", "message": {"role": "user", "content": answer}},
    ]
    lines = [json.dumps({**common, "timestamp": "2026-11-20T15:00:00.000Z", "parentUuid": None, **row}) for row in rows]
    (folder / f"{THREAD}.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "another.jsonl").write_text(lines[0] + "\n")
    ended = capture.end(row, client=unknown)
    assert ended.task.session is not None
    assert (ended.task.session.agent, ended.task.session.thread_id) == ("claude_code", THREAD)
    assert ended.version.instructions == "Make it add."


@pytest.mark.parametrize("thread", ["../../etc/passwd", "*", "x" * 500])
def test_a_thread_id_that_is_none_finds_nothing_and_costs_nothing(repository, codex_home, thread):
    client = Client(agent="codex", thread_id=thread)
    row = capture.start(worktree=repository.path, title="Fix", client=client)
    assert capture.end(row, client=client).task.session is None


def test_a_trace_that_cannot_be_read_does_not_cost_the_work(repository, codex_home, monkeypatch):
    def broken(**arguments: Any) -> None:
        raise RuntimeError("the transcript is broken")

    monkeypatch.setattr("traces.importing.import_thread", broken)
    row = capture.start(worktree=repository.path, title="Fix", client=CODEX)
    repository.write("adder.py", "changed\n")
    ended = capture.end(row, client=CODEX)
    assert ended.touched_files == ["adder.py"]
    assert any("the transcript is broken" in note for note in ended.notes)


def test_the_session_belongs_to_the_team_of_the_capture(repository, codex_home):
    team = make_team()
    row = capture.start(worktree=repository.path, title="Fix", client=CODEX, team=team)
    write_rollout(codex_home, repository.path, row.slug)
    ended = capture.end(row, client=CODEX)
    assert ended.task.session.team == ended.task.team == team
    assert ended.task.session.public is False
