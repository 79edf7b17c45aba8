"""The original OneShot's databases and ATIF files become sessions as well."""

import json
import sqlite3

import pytest

from tests.builders import make_team
from tests.traces.wire import FILES, NOON, answered, say, sse, user
from traces.importing import import_paths
from traces.models import Session

pytestmark = pytest.mark.django_db

TRACES = "CREATE TABLE traces (id TEXT PRIMARY KEY, ts_ms INTEGER, method TEXT, url TEXT, request_json TEXT, response_json TEXT, meta_json TEXT)"  # noqa: E501
CLEANED = "CREATE TABLE cleaned_sessions (session_id TEXT PRIMARY KEY, created_at TEXT, formatted_json TEXT)"
URL = "https://api.openai.com/v1/responses"


@pytest.fixture
def team():
    return make_team()


def raw(path, *rows):
    """Write rows of (ms, url, request, response, session, status) as the original's proxy does."""
    with sqlite3.connect(path) as connection:
        connection.execute(TRACES)
        for number, (ms, url, request, response, session, status) in enumerate(rows):
            meta = json.dumps({"status_code": status, "headers": {}, "session_id": session})
            texts = [value if isinstance(value, str) else json.dumps(value) for value in (request, response)]
            connection.execute("INSERT INTO traces VALUES(?,?,?,?,?,?,?)", (str(number), ms, "POST", url, *texts, meta))
    return path


def stream(said, response_id, tokens):
    body = answered(say(said), response_id=response_id)
    usage = {"input_tokens": tokens, "output_tokens": 5, "input_tokens_details": {"cached_tokens": 1}}
    body += sse({"type": "response.completed", "response": {"id": response_id, "model": "gpt-5", "usage": usage}})
    return {"_raw": body.decode()}


def asked(*history):
    return {"model": "gpt-5", "input": list(history), "prompt_cache_key": "x"}


MS = int(NOON * 1000)


def test_streams_of_the_raw_database_are_put_together(team, tmp_path):
    path = raw(
        tmp_path / "traces.sqlite3",
        (MS, URL, asked(user("Mend it.")), stream("I look.", "r1", 100), "run-1", 200),
        (MS + 9000, URL, asked(user("Mend it."), say("I look.")), stream("Mended.", "r2", 200), "run-1", 200),
    )
    [report] = import_paths([path], team=team)
    session = Session.objects.get()
    assert (report.reader, session.thread_id, session.agent) == ("original", "run-1", "codex")
    assert [(s.kind, s.preview) for s in session.shown_steps()] == [
        ("user", "Mend it."),
        ("assistant", "I look."),
        ("assistant", "Mended."),
    ]
    assert (session.tokens_input, session.tokens_output, session.tokens_cached) == (300, 10, 2)


def test_sessions_of_no_name_are_parted_by_pauses(team, tmp_path):
    rows = [
        (
            MS + minutes * 60_000,
            URL,
            asked(user(f"Do {minutes}.")),
            stream("So.", f"r{minutes}", 10),
            "session_unknown",
            200,
        )
        for minutes in (0, 5, 120)
    ]
    [report] = import_paths([raw(tmp_path / "t.db", *rows)], team=team)
    assert sorted(Session.objects.values_list("request_count", flat=True)) == [1, 2]
    assert len(report.new) == 2


def test_streams_of_the_messages_api_are_put_together(team, tmp_path):
    events = sse(
        {
            "type": "message_start",
            "message": {"id": "msg_1", "model": "claude-sonnet-4-5", "usage": {"input_tokens": 7}},
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "I "}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "look."}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t", "name": "Bash"}},
        {
            "type": "content_block_delta",
            "index": 1,
            "delta": {"type": "input_json_delta", "partial_json": '{"command": '},
        },
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '"ls"}'}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}},
    )
    request = {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "Mend it."}]}
    path = raw(
        tmp_path / "t.db",
        (MS, "https://api.anthropic.com/v1/messages", request, {"_raw": events.decode()}, "run-1", 200),
    )
    import_paths([path], team=team)
    session = Session.objects.get()
    assert [(s.kind, s.name, s.preview) for s in session.shown_steps()] == [
        ("user", "", "Mend it."),
        ("assistant", "", "I look."),
        ("tool", "Bash", "ls"),
    ]
    assert (session.tokens_input, session.tokens_output) == (7, 9)


def test_the_clean_database_and_its_export_are_the_same_session(team, tmp_path):
    history = asked(user("Mend it."))
    trace = {"request": history, "response": stream("Mended.", "r1", 100), "ts_ms": MS}
    document = json.dumps({"session_id": "run-1", "created_at": "2025-11-20T12:00:00", "traces": [trace]})
    path = raw(tmp_path / "raw.db", (MS, URL, history, stream("Mended.", "r1", 100), "run-1", 200))
    with sqlite3.connect(tmp_path / "clean.db") as connection:
        connection.execute(TRACES)
        connection.execute(CLEANED)
        connection.execute("INSERT INTO cleaned_sessions VALUES('run-1', '2025-11-20T12:00:00', ?)", (document,))
    (tmp_path / "trace.json").write_text(document)
    reports = import_paths([path, tmp_path / "clean.db", tmp_path / "trace.json"], team=team)
    assert [report.exchanges for report in reports] == [1, 0, 0]
    assert Session.objects.get().tokens_input == 100


def test_rows_that_are_no_json_are_told_and_the_rest_is_kept(team, tmp_path):
    path = raw(
        tmp_path / "t.db",
        (MS, URL, "{broken", "{}", "run-1", 200),
        (MS, URL, asked(user("Mend it.")), stream("Mended.", "r1", 100), "run-1", 200),
        (MS, URL, "[" * 100_000, "{}", "run-1", 200),
    )
    [report] = import_paths([path], team=team)
    assert [problem.place for problem in report.problems] == ["row 1", "row 3"]
    assert report.exchanges == 1


# ATIF


def test_a_trajectory_has_its_steps_calls_and_metrics(team):
    [report] = import_paths([FILES / "trajectory.json"], team=team)
    assert (report.reader, len(report.new), report.problems) == ("atif", 2, [])
    session = Session.objects.get(thread_id="harbor-session-1")
    assert (session.agent, session.agent_version, session.title) == ("claude_code", "2.0.1", "Make hello.txt.")
    assert [(s.kind, s.preview, s.result_preview) for s in session.shown_steps()] == [
        ("context", "You are an agent.", ""),
        ("user", "Make hello.txt.", ""),
        ("reasoning", "A file.", ""),
        ("assistant", "I write it.", ""),
        ("tool", "echo hello > hello.txt", "done"),
        ("assistant", "Done.", ""),
    ]
    assert (session.tokens_input, session.tokens_cached, session.tokens_output) == (2100, 500, 25)
    # What the file says costs what it says, what it does not say is reckoned: 500 x 3 + 500 x 0.3 + 20 x 15.
    assert str(session.cost_usd) == "0.251950"
    assert Session.objects.get(thread_id="sub-1").parent_thread_id == "harbor-session-1"


@pytest.mark.parametrize("content", ['{"schema_version": "ATIF-v1.6"', '{"schema_version": "ATIF-v1.6", "steps": 3}'])
def test_a_broken_trajectory_is_refused_with_a_reason(team, tmp_path, content):
    path = tmp_path / "trajectory.json"
    path.write_text(content)
    [report] = import_paths([path], team=team)
    assert report.refused
    assert report.problems
