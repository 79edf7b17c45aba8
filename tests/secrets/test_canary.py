"""A secret put into every place that a session can hold one is kept nowhere.

Three kinds: one that the environment names, one of an agent's auth file, one that nobody knows but that looks like a
key. They go the real ways: past the gateway's recorder, in transcripts, through a capture; then all that OneShot
keeps is searched.
"""

from __future__ import annotations

import base64
import json
import logging
import sqlite3
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.test import Client as Browser
from django.urls import reverse

from oneshot import store
from tasks import capture
from tasks.capture.client import Client
from tasks.capture.difference import tree_after
from tasks.capture.worktree import Worktree
from tasks.exporting import export_tasks
from tests.builders import make_task, make_team, make_user
from tests.prepare.repositories import Repository
from tests.secrets.scan import holds, places_of
from tests.traces.wire import answered, call, lines, output, say, sse, user
from traces.importing import import_new, import_paths, import_thread
from traces.models import Exchange, Session
from traces.proxy import database_path
from traces.proxy.wire.recorder import Recorder
from traces.proxy.wire.watch import Watch

pytestmark = pytest.mark.django_db

THREAD = "01a1b2c3-0000-7000-8000-00000000c0de"
CLAUDE_THREAD = "c2d15f08-b47e-4346-996f-54b328c60ae6"
ENVIRONMENT = 'canary/env+7Qd93kfXz2"Lm0\\pq='
AUTH_FILE = "rt.canary-auth-5f0c9b1e8d7a6c42"
SHAPED = "sk-proj-canary0aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3z"
ONLY_HEADER = "canary-header-0f9e8d7c6b5a4d3c2b1a"
KNOWN = (ENVIRONMENT, AUTH_FILE, SHAPED)
ALL = (*KNOWN, ONLY_HEADER)
SPOKEN = f"first {ENVIRONMENT} then {AUTH_FILE} and {SHAPED} end"


@pytest.fixture(autouse=True)
def machine(settings, monkeypatch, tmp_path):
    """Make a machine of its own with the canaries in its environment and auth file; return its home."""
    settings.DATA_DIR = tmp_path / "data"
    settings.DATA_DIR.mkdir()
    home = tmp_path / "home"
    (home / ".codex").mkdir(parents=True)
    (home / ".codex" / "auth.json").write_text(json.dumps({"tokens": {"refresh_token": AUTH_FILE}}))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("CODEX_HOME", raising=False)
    monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    monkeypatch.setenv("CANARY_SERVICE_TOKEN", ENVIRONMENT)
    return home


@pytest.fixture
def data_dir(settings) -> Path:
    return settings.DATA_DIR


@pytest.fixture
def team():
    return make_team(owner=make_user("owner"))


def leaks(data_dir: Path, *values: str) -> dict[str, list[str]]:
    return {value: found for value in values or ALL if (found := places_of(value, data_dir))}


# Ways in


def pass_by_the_gateway(said: str = SPOKEN, *, door: str = "forward") -> None:
    """Send a request with the canaries in its headers, address and body past the gateway's recorder."""
    recorder = Recorder(database_path())
    basic = base64.b64encode(f"me:{ENVIRONMENT}".encode()).decode()
    body = {
        "model": "gpt-5",
        "stream": True,
        "client_metadata": {"note": said},
        "input": [user(said), call("c1", f"curl -H 'Authorization: Bearer {said}'"), output("c1", said)],
    }
    watch = Watch(
        recorder,
        door=door,
        method="POST",
        url=f"https://me:{SHAPED}@api.example.org/v1/responses?key={SHAPED}",
        headers=[
            ("authorization", f"Bearer {ONLY_HEADER}"),
            ("x-api-key", ENVIRONMENT),
            ("proxy-authorization", f"Basic {basic}"),
            ("cookie", f"session={ONLY_HEADER}"),
            ("user-agent", f"codex_exec/0.169.0 ({AUTH_FILE})"),
            ("session-id", THREAD),
            ("thread-id", THREAD),
            ("x-unknown", ONLY_HEADER),
        ],
        body=json.dumps(body).encode(),
        provider="openai",
    )
    watch.answered(200, [("content-type", "text/event-stream"), ("set-cookie", f"a={ONLY_HEADER}; path=/")])
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": said}]}
    # A key that comes in pieces is whole again only when the pieces are joined.
    pieces = [said[start : start + 7] for start in range(0, len(said), 7)]
    deltas = [
        {"type": "response.output_text.delta", "item_id": "m1", "output_index": 0, "content_index": 0, "delta": piece}
        for piece in pieces
    ]
    stream = sse(*deltas) + answered(reasoning, say(said), call("c2", f"echo {said}"), response_id="resp_canary")
    for start in range(0, len(stream), 1000):
        watch.feed(stream[start : start + 1000])
    watch.finish()
    failed = Watch(
        recorder,
        door=door,
        method="POST",
        url="https://api.example.org/v1/responses",
        headers=[
            ("authorization", f"Bearer {ONLY_HEADER}"),
            ("session-id", THREAD),
            ("user-agent", "codex_exec/0.169.0"),
        ],
        body=json.dumps(body).encode(),
    )
    failed.answered(401, [("content-type", "application/json")])
    failed.feed(json.dumps({"error": {"message": f"Incorrect API key provided: {ONLY_HEADER} {said}"}}).encode())
    failed.finish(error=f"broken off: {said}")
    assert recorder.close(10)


def rollout(said: str = SPOKEN) -> bytes:
    at = "2025-11-20T12:00:00Z"
    git = {"repository_url": f"https://me:{SHAPED}@example.org/a.git", "branch": "main", "commit_hash": "0" * 40}
    items = [
        {"id": "m1", **user(said)},
        {"id": "r1", "type": "reasoning", "summary": [{"type": "summary_text", "text": said}]},
        {"id": "s1", **say(said)},
        {"id": "f1", **call("c1", f"login {said}")},
        {"id": "o1", **output("c1", said)},
    ]
    patch = {"type": "FileChange", "id": "p1", "status": "completed"} | {
        "changes": {"/home/dev/a.py": {"type": "update", "unified_diff": f"@@ -1 +1 @@\n-x\n+{said}\n"}}
    }
    command = {"type": "CommandExecution", "id": "c1", "command": ["bash", "-lc", f"echo {said}"]} | {
        "cwd": "/home/dev",
        "aggregated_output": said,
        "exit_code": 0,
        "status": "completed",
    }
    events = [{"type": "item_completed", "item": item} for item in (patch, command)]
    return (
        lines(
            {
                "timestamp": at,
                "type": "session_meta",
                "payload": {
                    "id": THREAD,
                    "cwd": "/home/dev",
                    "cli_version": "0.169.0",
                    "git": git,
                    "instructions": said,
                },
            },
            {"timestamp": at, "type": "turn_context", "payload": {"model": "gpt-5", "cwd": "/home/dev"}},
            *({"timestamp": at, "type": "response_item", "payload": item} for item in items),
            *({"timestamp": at, "type": "event_msg", "payload": event} for event in events),
            {"timestamp": at, "type": "event_msg", "payload": {"type": "error", "message": said}},
        )
        + f'{{"broken": "{SHAPED}\n'.encode()
    )


def transcript(said: str = SPOKEN) -> bytes:
    common = {"sessionId": CLAUDE_THREAD, "timestamp": "2025-11-20T12:00:00Z", "cwd": "/home/dev", "version": "2.1.197"}

    def row(uuid: str, kind: str, content, **more):
        message = {"role": kind, "content": content} | ({"id": "msg_1", "model": "m"} if kind == "assistant" else {})
        return {"type": kind, "uuid": uuid, "message": message, **common, **more}

    edit = {"file_path": "/home/dev/a.py", "old_string": "x", "new_string": said}
    return lines(
        row("u1", "user", said),
        row("a1", "assistant", [{"type": "thinking", "thinking": said}]),
        row("a2", "assistant", [{"type": "text", "text": said}]),
        row("a3", "assistant", [{"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": f"x {said}"}}]),
        row(
            *("u2", "user", [{"type": "tool_result", "tool_use_id": "t1", "content": said}]),
            toolUseResult={"stdout": said, "stderr": said},
        ),
        row("a4", "assistant", [{"type": "tool_use", "id": "t2", "name": "Edit", "input": edit}]),
        row(
            *("u3", "user", [{"type": "tool_result", "tool_use_id": "t2", "content": "ok"}]),
            toolUseResult={"filePath": "/home/dev/a.py", "oldString": "x", "newString": said, "originalFile": said},
        ),
        {"type": "summary", "summary": said, "leafUuid": "a4"},
    )


# What is kept


def test_nothing_passes_the_gateway_into_its_database(data_dir):
    pass_by_the_gateway()
    assert database_path().exists()
    assert leaks(data_dir) == {}


def test_nothing_passes_from_the_gateway_into_sessions(data_dir, team):
    pass_by_the_gateway()
    import_new(team)
    assert Exchange.objects.count() == 2
    assert leaks(data_dir) == {}


def test_nothing_passes_from_transcripts_into_sessions(data_dir, team, tmp_path):
    (tmp_path / f"rollout-2025-11-20T12-00-00-{THREAD}.jsonl").write_bytes(rollout())
    (tmp_path / f"{CLAUDE_THREAD}.jsonl").write_bytes(transcript())
    reports = import_paths(sorted(tmp_path.glob("*.jsonl")), team=team)
    assert sum(len(report.new) for report in reports) == 2
    assert sum(report.steps for report in reports) > 8
    told = json.dumps([report.as_dict() for report in reports])
    assert leaks(data_dir) == {}
    assert [value for value in ALL if holds(told.encode(), value)] == []


def test_no_page_or_export_of_a_session_shows_one(data_dir, team, tmp_path):
    pass_by_the_gateway()
    (tmp_path / f"rollout-2025-11-20T12-00-00-{THREAD}.jsonl").write_bytes(rollout())
    (tmp_path / f"{CLAUDE_THREAD}.jsonl").write_bytes(transcript())
    import_paths([database_path(), *sorted(tmp_path.glob("*.jsonl"))], team=team)
    browser = Browser()
    browser.force_login(get_user_model().objects.get(username="owner"))
    seen = 0
    for session in Session.objects.all():
        pages = ["", "viewer/", "steps/", "exchanges/", "find/?q=end"]
        pages += [f"steps/{step.position}/" for step in session.shown_steps()]
        pages += [f"exchanges/{number}/" for number in range(1, session.exchanges.count() + 1)]
        pages += [f"export/{name}" for name in ("atif.json", "otlp.json", "steps.jsonl")]
        for page in [reverse("session-list"), *(f"/sessions/{session.pk}/{page}" for page in pages)]:
            response = browser.get(page)
            content = b"".join(response.streaming_content) if response.streaming else response.content
            assert response.status_code in (200, 404), page
            seen += response.status_code == 200
            assert [value for value in ALL if holds(content, value)] == [], page
    assert seen > 20


def captured(
    repository: Repository, team, *, change: dict[str, str], work: Callable[[], None] = lambda: None
) -> capture.Ended:
    """Capture a change with the canaries in everything that an agent says to the tools."""
    row = capture.start(
        worktree=repository.path,
        title=f"Fix it {SHAPED}",
        notes=SPOKEN,
        labels=["py", SHAPED],
        client=Client(agent="codex", thread_id=THREAD, version="0.169.0", name=f"codex {ENVIRONMENT}"),
        team=team,
    )
    for path, text in change.items():
        repository.write(path, text)
    work()
    return capture.end(row, summary=SPOKEN, labels=[ENVIRONMENT])


@pytest.fixture
def repository(tmp_path) -> Repository:
    made = Repository(tmp_path / "repo")
    made.git("config", "user.name", "Ann")
    made.git("config", "user.email", "ann@localhost")
    made.git("remote", "add", "origin", f"https://me:{SHAPED}@example.org/acme/adder.git")
    made.git("remote", "add", "other", f"https://{ONLY_HEADER}@example.org/acme/adder.git")
    made.commit("start", **{"adder.py": "def add(a, b):\n    return a - b\n", ".gitignore": ".env\n"})
    made.write(".env", f"TOKEN={ENVIRONMENT}\nOTHER={SHAPED}\n")
    return made


def test_nothing_that_a_capture_is_told_is_kept(data_dir, team, machine, repository, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    sessions = machine / ".codex" / "sessions" / "2025" / "11" / "20"
    sessions.mkdir(parents=True)
    (sessions / f"rollout-2025-11-20T12-00-00-{THREAD}.jsonl").write_bytes(rollout())
    pass_by_the_gateway()
    ended = captured(repository, team, change={"adder.py": "def add(a, b):\n    return a + b\n"})
    assert ended.task.session is not None
    assert ended.task.session.exchanges.count() == 2
    assert import_thread(agent="codex", thread_id=THREAD, team=team) == ended.task.session
    assert leaks(data_dir) == {}
    assert [value for value in ALL if holds(caplog.text.encode(), value)] == []
    assert [value for value in ALL if holds(json.dumps(ended.notes).encode(), value)] == []
    browser = Browser()
    browser.force_login(get_user_model().objects.get(username="owner"))
    for page in (f"/tasks/{ended.task.slug}/", "/tasks/", "/"):
        content = browser.get(page).content
        assert [value for value in ALL if holds(content, value)] == [], page


def test_what_the_repository_ignores_is_not_in_the_base(data_dir, team, repository):
    captured(repository, team, change={"adder.py": "def add(a, b):\n    return a + b\n"})
    assert leaks(data_dir) == {}


def test_a_secret_in_the_change_itself_is_taken_out_and_the_task_kept_back(data_dir, team, repository):
    added = f"key = {ENVIRONMENT!r}\n\ndef test_key():\n    assert key != {SHAPED!r}\n"
    change = {"settings.py": f'KEY = "{SHAPED}"\n', "tests/test_key.py": added, "adder.py": f"x = '{AUTH_FILE}'\n"}
    ended = captured(repository, team, change=change)
    assert leaks(data_dir) == {}
    assert ended.version.sensitivity == "sensitive"
    assert b"[redacted]" in ended.version.hidden_test_files()["tests/test_key.py"]
    made, why = tree_after(
        Worktree.locate(repository.path), ended.capture.start_commit, [ended.version.reference_diff()]
    )
    assert made, why
    (result,) = export_tasks([ended.task], data_dir.parent / "out")
    assert result.result == "refused"


def test_what_was_never_committed_is_left_out_or_replaced_at_both_ends(data_dir, team, repository):
    """Untracked, changed and staged at the start; then some of it is changed, and all committed by the agent."""
    repository.write("settings.py", "A = 1\n" * 5)
    repository.git("add", "settings.py")
    repository.git("commit", "-qm", "settings")
    repository.write("deploy/server.pem", ONLY_HEADER)
    repository.write(".env.local", f"PASSPHRASE={ONLY_HEADER}\n")
    repository.write("notes.txt", f"one\n{SPOKEN}\nthree\n")
    repository.write("settings.py", f"A = 1\nKEY = '{AUTH_FILE}'\n" + "A = 1\n" * 4)
    repository.write("staged.py", f"KEY = '{SHAPED}'\n")
    repository.git("add", "staged.py")

    def work() -> None:
        repository.write("notes.txt", f"one\n{SPOKEN}\nthree and four\n")
        repository.write("more.txt", f"again {SPOKEN}\n")
        repository.write(".env.local", f"PASSPHRASE={ONLY_HEADER}\nMORE=1\n")
        repository.git("add", "-A")
        repository.git("commit", "-qm", "all of it")
        repository.write("id_ed25519", ONLY_HEADER)
        repository.write("staged.py", f"KEY = '{SHAPED}'\nOTHER = 1\n")

    ended = captured(repository, team, change={}, work=work)
    assert leaks(data_dir) == {}
    place = Worktree.locate(repository.path)
    made, _ = tree_after(place, ended.capture.start_commit, [ended.version.reference_diff()])
    assert made == place.tree_of(ended.capture.end_commit)
    assert b"+three and four" in ended.version.reference_diff()
    for commit in (ended.capture.start_commit, ended.capture.end_commit):
        files = repository.git("ls-tree", "-r", "--name-only", commit).split()
        assert {"notes.txt", "settings.py", "staged.py"} <= set(files)
        assert not {"deploy/server.pem", ".env.local"} & set(files)
        assert repository.git("show", f"{commit}:settings.py").split("\n")[1] == "KEY = '[redacted]'"
    assert ended.capture.detail["left_out"] == [".env.local", "deploy/server.pem"]
    assert any("left out of the task: .env.local, deploy/server.pem." in note for note in ended.notes)
    assert any("replaced by [redacted]" in note for note in ended.notes)
    assert ended.version.sensitivity == "sensitive"
    assert {(row["part"], row["path"]) for row in ended.version.provenance["findings"]} >= {
        *(("base", "notes.txt"), ("base", "settings.py"), ("base", "staged.py"), ("reference", "more.txt"))
    }


def test_the_search_itself_finds_what_is_kept_in_any_form(data_dir, team):
    store.put(f"x {SHAPED} y".encode())
    store.put(base64.b64encode(f"me:{ONLY_HEADER}".encode()))
    make_task(team=team, title=f"Task {AUTH_FILE}")
    (data_dir / "proxy").mkdir()
    with sqlite3.connect(database_path()) as db:
        db.execute("CREATE TABLE message(body BLOB)")
        db.execute("INSERT INTO message VALUES (?)", (zlib.compress(f"a {ENVIRONMENT} b".encode()),))
    db.close()
    assert set(leaks(data_dir)) == set(ALL)
