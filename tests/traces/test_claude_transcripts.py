"""Claude Code's transcripts become sessions; an answer that is written in many lines is counted once."""

import json
import shutil

import pytest

from tests.builders import make_team
from tests.traces.wire import FILES, lines
from traces.importing import import_paths
from traces.models import Session

pytestmark = pytest.mark.django_db

SESSION = "c2d15f08-b47e-4346-996f-54b328c60ae6"


@pytest.fixture
def team():
    return make_team()


def imported(path, team) -> Session:
    reports = import_paths([path], team=team)
    assert [report.problems for report in reports] == [[]] * len(reports)
    return Session.objects.get(agent="claude_code")


def assistant(uuid: str, message_id: str, *content, output: int = 10, **fields):
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 500,
        "cache_creation_input_tokens": 90,
        "output_tokens": output,
    }
    message = {
        "id": message_id,
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": list(content),
        "usage": usage,
    }
    common = {"type": "assistant", "uuid": uuid, "sessionId": "s-1", "timestamp": "2025-11-20T12:00:00Z"}
    return common | {"message": message, "requestId": f"req_{message_id}"} | fields


def text(said: str):
    return {"type": "text", "text": said}


def asked(said: str, uuid: str = "u-1", **fields):
    message = {"role": "user", "content": said}
    return {
        "type": "user",
        "uuid": uuid,
        "sessionId": "s-1",
        "timestamp": "2025-11-20T11:59:00Z",
        "message": message,
    } | fields


def test_a_session_shows_what_was_said_and_really_done(team):
    session = imported(FILES / "claude.jsonl", team)
    assert (session.thread_id, session.agent_version, session.branch) == (SESSION, "2.1.197", "main")
    assert (session.title, session.ending, session.repository) == ("Mend add, please.", "completed", "w-claude")
    steps = session.shown_steps().exclude(kind="context")
    assert [(s.kind, s.name, s.exit_code, s.failed) for s in steps if s.call_id] == [
        ("tool", "Bash", 0, False),
        ("tool", "Read", None, False),
        ("patch", "Edit", None, False),
        ("patch", "Write", None, False),
        ("tool", "Bash", 3, True),
    ]
    edit, written = steps.filter(kind="patch")
    assert edit.preview == "calc.py"
    assert "--- a/calc.py\n+++ b/calc.py\n@@ -1,1 +1,1 @@\n-def add(a, b): return a-b\n+def add" in edit.body()
    assert "--- /dev/null\n+++ b/NOTES.md\n@@ -0,0 +1,1 @@\n+mended\n" in written.body()
    assert (session.request_count, session.tokens_input, session.tokens_output) == (5, 5000, 250)
    assert str(session.cost_usd) == "0.018750"


def test_lines_of_one_answer_are_one_exchange_with_its_final_count(team, tmp_path):
    path = tmp_path / "s-1.jsonl"
    path.write_bytes(
        lines(
            asked("Hello"),
            assistant("a", "msg_1", text("One."), output=1),
            assistant("b", "msg_1", text("Two."), output=40),
        )
    )
    session = imported(path, team)
    [exchange] = session.exchanges.all()
    assert (exchange.key, exchange.request_id) == ("msg_1", "req_msg_1")
    assert (session.tokens_input, session.tokens_cached, session.tokens_cache_write) == (600, 500, 90)
    assert session.tokens_output == 40
    assert session.shown_steps().filter(kind="assistant", exchange=exchange).count() == 2


def test_a_sub_agents_own_file_belongs_to_the_session_and_counts_once(team, tmp_path):
    (tmp_path / "s-1" / "subagents").mkdir(parents=True)
    main, sub = tmp_path / "s-1.jsonl", tmp_path / "s-1" / "subagents" / "agent-7f.jsonl"
    main.write_bytes(lines(asked("Hello"), assistant("a", "msg_1", text("I ask another."))))
    of_sub = {"isSidechain": True, "agentId": "7f"}
    sub.write_bytes(lines(asked("Look around.", "u-2", **of_sub), assistant("b", "msg_2", text("Seen."), **of_sub)))
    session = imported(tmp_path, team)
    assert session.request_count == 2
    assert session.turn_count == 1
    assert {s.agent_path for s in session.shown_steps().filter(exchange__key="msg_2")} == {"7f"}


def test_what_the_client_adds_is_context_and_an_interruption_a_notice(team, tmp_path):
    path = tmp_path / "s-1.jsonl"
    path.write_bytes(
        lines(
            asked("<system-reminder>Be brief.</system-reminder>", "u-0"),
            asked("Caveat: made by commands", "u-9", isMeta=True),
            asked("Hello"),
            asked("[Request interrupted by user]", "u-2"),
        )
    )
    session = imported(path, team)
    assert [s.kind for s in session.shown_steps()] == ["context", "context", "user", "notice"]
    assert (session.title, session.ending) == ("Hello", "aborted")


def test_an_error_of_the_service_is_a_notice_and_no_exchange(team, tmp_path):
    path = tmp_path / "s-1.jsonl"
    error = assistant("a", "x", text("API Error: 529 overloaded"), isApiErrorMessage=True)
    error["message"]["model"] = "<synthetic>"
    path.write_bytes(lines(asked("Hello"), error))
    session = imported(path, team)
    assert (session.request_count, session.shown_steps().last().kind) == (0, "notice")


def test_lines_of_an_unknown_type_are_told(team, tmp_path):
    path = tmp_path / "s-1.jsonl"
    path.write_bytes(lines(asked("Hello"), {"type": "novelty", "sessionId": "s-1"}))
    [report] = import_paths([path], team=team)
    assert "unknown type 'novelty'" in report.problems[0].message


def test_a_session_id_that_tries_to_be_a_path_is_none(team, tmp_path):
    path = tmp_path / "s-1.jsonl"
    path.write_bytes(lines(asked("Hello", sessionId="../../etc/passwd")))
    session = imported(path, team)
    assert session.thread_id.startswith("odd-")
    assert "/" not in session.thread_id


def test_hostile_values_are_replaced_or_left_unknown(team, tmp_path):
    path = tmp_path / "s-1.jsonl"
    odd = assistant("a", "msg_1", text("nul \x00 and half \ud83d"), output=10**30, timestamp="9999-99-99")
    odd["message"]["usage"]["input_tokens"] = -5
    path.write_bytes(lines(asked("Hello"), odd))
    session = imported(path, team)
    said = session.shown_steps().get(kind="assistant")
    assert said.preview == "nul \ufffd and half ?"
    assert (said.at, session.tokens_input, session.tokens_output) == (None, None, None)
    assert session.unknown_usage_count == 1


def test_a_transcript_that_is_followed_line_by_line_is_the_same(team, tmp_path):
    whole = (FILES / "claude.jsonl").read_bytes().splitlines(keepends=True)
    path = tmp_path / f"{SESSION}.jsonl"
    for number in range(1, len(whole) + 1):
        path.write_bytes(b"".join(whole[:number]))
        import_paths([path], team=team)
    session = Session.objects.get()
    shutil.copy(FILES / "claude.jsonl", path)
    other = make_team()
    import_paths([path], team=other)
    once = Session.objects.get(team=other)
    for name in ("title", "step_count", "request_count", "tokens_input", "cost_usd", "search_text", "ending"):
        assert getattr(session, name) == getattr(once, name)
    assert [(s.key, s.preview, s.body()) for s in session.shown_steps()] == [
        (s.key, s.preview, s.body()) for s in once.shown_steps()
    ]


def test_a_json_report_can_be_made_of_anything_read(team, tmp_path):
    path = tmp_path / "s-1.jsonl"
    path.write_bytes(lines(asked("Hello")) + b"\xff\xfe broken\n")
    [report] = import_paths([path], team=team)
    assert json.dumps(report.as_dict())
    assert report.problems[0].place == "line 2"
