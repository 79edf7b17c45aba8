"""`oneshot import_traces`: what it reads, what it says, what it refuses, and that it keeps secrets out."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command

from oneshot.management.base import BadInput
from tests.builders import make_team
from tests.installation import wait_for
from tests.traces.wire import FILES, exchange, lines, record, rollout, say, short_session, user
from traces import importing
from traces.importing import import_paths
from traces.models import Session, Step
from traces.proxy.wire import schema

pytestmark = pytest.mark.django_db
CANARY = "cnry-4f9a8b7c6d5e4f3a2b1c"


def run(capsys, *words):
    """Return exit status, the JSON document or None, and what was said."""
    status = 0
    try:
        call_command("import_traces", *map(str, words))
    except SystemExit as ended:
        status = ended.code
    out, err = capsys.readouterr()
    return status, json.loads(out) if out.strip() else None, err


def test_a_directory_is_searched_and_each_source_reported(capsys, tmp_path):
    make_team(slug="shop")
    shutil.copy(FILES / "codex-plain.jsonl", tmp_path / "rollout-1.jsonl")
    (tmp_path / "deep" / "er").mkdir(parents=True)
    shutil.copy(FILES / "claude.jsonl", tmp_path / "deep" / "er" / "s.jsonl")
    record(tmp_path / "proxy.sqlite3", *short_session())
    (tmp_path / "notes.json").write_text("{}")
    status, document, _ = run(capsys, tmp_path, "--team", "shop", "--json")
    assert status == 0
    assert [(Path(i["path"]).name, i["reader"], i["sessions"]["new"], i["exchanges"]) for i in document["imports"]] == [
        ("proxy.sqlite3", "proxy", 1, 2),
        ("rollout-1.jsonl", "codex", 1, 4),
        ("s.jsonl", "claude_code", 1, 5),
    ]
    assert Session.objects.filter(team__slug="shop").count() == 3


def broken(folder: Path, name: str) -> Path:
    path = folder / name
    if name == "half.sqlite3":
        whole = record(folder / "whole.sqlite3", *[e for n in range(20) for e in short_session(f"t{n}")])
        path.write_bytes(whole.read_bytes()[:9000])
    elif name == "newer.sqlite3":
        record(path, *short_session())
        with sqlite3.connect(path) as connection:
            connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    elif name == "notadb.sqlite3":
        path.write_bytes(b"This is no database at all, whatever its name says.")
    elif name == "other.sqlite3":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE bookmarks(url)")
    elif name == "empty.jsonl":
        path.touch()
    elif name == "emptydir":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("half.sqlite3", "malformed"),
        ("newer.sqlite3", "written by a newer OneShot"),
        ("notadb.sqlite3", "no trace that OneShot knows"),
        ("other.sqlite3", "no trace that OneShot knows"),
        ("empty.jsonl", "empty"),
        ("emptydir", "no traces in this directory"),
        ("missing", "no such file"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(capsys, tmp_path, name, says):
    path = broken(tmp_path, name)
    status, document, err = run(capsys, path, "--json")
    assert status == 2
    [report] = document["imports"]
    assert report["refused"]
    assert says in report["problems"][0]["message"]
    assert says in err
    assert Session.objects.count() == 0


def test_one_good_path_among_bad_ones_is_enough(capsys, tmp_path):
    status, document, _ = run(capsys, tmp_path / "missing", FILES / "codex-plain.jsonl", "--json")
    assert status == 0
    assert [report["refused"] for report in document["imports"]] == [True, False]


def test_a_locked_database_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("traces.readers.databases.WAIT_S", 0.1)
    path = tmp_path / "t.sqlite3"
    record(path, *short_session())
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA journal_mode = DELETE")
    holder.execute("BEGIN EXCLUSIVE")
    try:
        [report] = import_paths([path], team=make_team())
    finally:
        holder.close()
    assert "locked" in report.problems[0].message


def test_links_do_not_lead_out_of_a_directory(capsys, tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    shutil.copy(FILES / "codex-plain.jsonl", outside / "rollout-1.jsonl")
    (inside / "rollout-2.jsonl").symlink_to(outside / "rollout-1.jsonl")
    (inside / "folder").symlink_to(outside)
    status, _, _ = run(capsys, inside, "--json")
    assert status == 2
    assert Session.objects.count() == 0


def test_a_team_that_is_none_is_named_with_those_that_are(capsys):
    make_team(slug="shop")
    with pytest.raises(BadInput, match=r"no team 'shoop'. Teams: .*shop"):
        call_command("import_traces", str(FILES), "--team", "shoop")


def test_without_a_path_it_reads_the_users_own_and_says_so(capsys, tmp_path, monkeypatch, settings):
    settings.DATA_DIR = tmp_path / "var"
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    with pytest.raises(BadInput, match="nothing to import"):
        call_command("import_traces")
    (tmp_path / "codex" / "sessions").mkdir(parents=True)
    shutil.copy(FILES / "codex-plain.jsonl", tmp_path / "codex" / "sessions" / "rollout-1.jsonl")
    status, _, err = run(capsys)
    assert (status, Session.objects.count()) == (0, 1)
    assert f"Reading {tmp_path}/codex/sessions" in err


def test_no_secret_reaches_the_database_or_the_store(tmp_path, monkeypatch, settings):
    monkeypatch.setenv("SHOP_API_KEY", CANARY)
    settings.DATA_DIR = tmp_path / "var"
    quoted = f'a "{CANARY}" in {{"key": "{CANARY}"}}'
    meta = {
        "id": "t",
        "cwd": f"/home/{CANARY}",
        "git": {"branch": CANARY, "repository_url": f"https://x:{CANARY}@e.org/a"},
    }
    command = {
        "type": "CommandExecution",
        "id": "c",
        "command": ["bash", "-lc", f"echo {CANARY}"],
        "aggregated_output": quoted,
    }
    change = {"type": "FileChange", "id": "f", "changes": {f"/x/{CANARY}": {"type": "add", "content": quoted}}}
    path = tmp_path / f"rollout-{CANARY}.jsonl"
    path.write_bytes(
        lines(
            {"type": "session_meta", "payload": meta},
            {"type": "turn_context", "payload": {"model": CANARY}},
            {"type": "response_item", "payload": user(quoted)},
            {"type": "event_msg", "payload": {"type": "item_completed", "item": command}},
            {"type": "event_msg", "payload": {"type": "item_completed", "item": change}},
            {"type": "event_msg", "payload": {"type": "error", "message": quoted}},
            {"type": "token_usage_record", "payload": {"thread_id": "t", "response_id": "r", "usage": {}}},
        )
    )
    monkeypatch.delenv("SHOP_API_KEY")
    recorded = record(tmp_path / "p.sqlite3", exchange(say(quoted), history=[user(quoted)], error=quoted))
    monkeypatch.setenv("SHOP_API_KEY", CANARY)
    import_paths([path, recorded], team=make_team())
    assert Session.objects.count() == 2
    kept = []
    for model in (Session, Step, importing.Exchange):
        kept += [str(value) for row in model.objects.values() for name, value in row.items()]
    kept += [step.body() + step.result() for step in Step.objects.all()]
    from oneshot import store

    kept += [store.get_text(file.stem) for file in (tmp_path / "var" / "content").rglob("*.zst")]
    assert not [text for text in kept if CANARY in text]
    assert any("[redacted]" in text for text in kept)


@pytest.mark.django_db(transaction=True)
def test_following_takes_what_comes_until_it_is_interrupted(tmp_path):
    path = tmp_path / "rollout-1.jsonl"
    path.write_bytes(rollout("thread-1"))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DATABASE")},
        "ONESHOT_DATA_DIR": str(tmp_path / "var"),
        "DJANGO_SETTINGS_MODULE": "oneshot.settings",
    }
    argv = [sys.executable, "-m", "oneshot", "import_traces", str(path), "--follow"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log, cwd=tmp_path)
    try:
        wait_for(lambda: b"Following" in (tmp_path / "log").read_bytes(), "the first import", 60)
        with path.open("ab") as file:
            file.write(lines({"type": "response_item", "payload": {"id": "m2", **user("And now?")}}))
        wait_for(lambda: turns(tmp_path / "var" / "oneshot.sqlite3") == 2, "the second turn")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def turns(database: Path) -> int:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return connection.execute("SELECT max(turn_count) FROM traces_session").fetchone()[0]
