"""Codex's rollouts become sessions: what was really done, with its usage, each once."""

import gzip
import json
import shutil

import pytest
import zstandard

from tests.builders import make_team
from tests.traces.wire import FILES, lines, rollout, user
from traces.importing import import_paths
from traces.models import Session

pytestmark = pytest.mark.django_db


@pytest.fixture
def team():
    return make_team()


def imported(path, team) -> Session:
    [report] = import_paths([path], team=team)
    assert not report.refused, report.problems
    assert report.problems == []
    return Session.objects.get(pk=(report.new | report.updated | report.unchanged).pop())


@pytest.mark.parametrize("name", ["codex-plain", "codex-code-mode"])
def test_a_session_shows_what_was_said_and_really_done(team, name):
    session = imported(FILES / f"{name}.jsonl", team)
    assert (session.agent, session.agent_version, session.ending) == ("codex", "0.169.0", "completed")
    assert session.title == "Mend add, please."
    assert session.repository == "https://example.org/adder.git"
    assert (session.branch, len(session.commit)) == ("main", 40)
    said = [(s.kind, s.preview) for s in session.shown_steps() if s.kind in ("user", "reasoning", "assistant")]
    assert said == [
        ("user", "Mend add, please."),
        ("reasoning", "I look around first."),
        ("assistant", "I will mend it."),
        ("assistant", "Done: add adds now."),
    ]
    listed, ran = session.shown_steps().filter(name="shell")
    assert (listed.preview, listed.exit_code, listed.failed) == ("ls -la && cat calc.py", 0, False)
    assert "def add(a, b)" in listed.result()
    assert (ran.exit_code, ran.failed, ran.result()) == (3, True, "3\n")
    assert ran.seconds is not None
    patch = session.shown_steps().get(kind="patch")
    assert patch.preview == "NOTES.md, calc.py"
    assert "--- a/calc.py\n+++ b/calc.py\n@@ -1 +1 @@\n-def add(a, b): return a-b\n+def add" in patch.body()
    assert [(f["path"], f["change"], f["added"], f["removed"]) for f in patch.meta["files"]] == [
        ("NOTES.md", "added", 1, 0),
        ("calc.py", "modified", 1, 1),
    ]
    assert {s.turn for s in session.shown_steps().exclude(kind="context")} == {1}


def test_code_is_shown_before_the_commands_that_it_ran(team):
    session = imported(FILES / "codex-code-mode.jsonl", team)
    names = [s.name for s in session.shown_steps() if s.kind in ("tool", "patch")]
    assert names == ["functions.exec", "shell", "functions.exec", "apply_patch", "functions.exec", "shell"]


def test_each_answer_is_one_exchange_that_its_steps_belong_to(team):
    session = imported(FILES / "codex-code-mode.jsonl", team)
    assert session.request_count == 4
    assert (session.tokens_input, session.tokens_output, session.unknown_usage_count) == (4300, 210, 0)
    # Nobody knows what the scripted model costs.
    assert (session.cost_usd, session.unknown_cost_count) == (None, 4)
    of_first = session.shown_steps().filter(exchange__key__startswith="resp_s0").order_by("position")
    assert [s.kind for s in of_first] == ["reasoning", "tool", "tool"]
    assert not session.shown_steps().filter(kind__in=("tool", "patch", "assistant"), exchange=None).exists()


def test_an_old_rollout_is_counted_by_its_running_totals_said_once(team):
    session = imported(FILES / "codex-old.jsonl", team)
    assert session.request_count == 2
    assert (session.tokens_input, session.tokens_cached, session.tokens_output) == (4200, 3000, 130)
    assert str(session.cost_usd) == "0.003175"
    [step] = session.shown_steps().filter(kind="tool")
    assert (step.preview, step.exit_code, step.failed) == ("wc -l orders.csv", 1, True)
    assert step.result() == "wc: orders.csv: No such file\n"
    assert session.title == "Count the orders."


def test_the_remote_is_kept_without_its_password(team):
    session = imported(FILES / "codex-old.jsonl", team)
    assert session.repository == "https://example.org/shop.git"


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_compressed_and_archived_rollouts_are_the_same_session(team, tmp_path, suffix):
    plain = tmp_path / "sessions" / "rollout-1.jsonl"
    plain.parent.mkdir()
    shutil.copy(FILES / "codex-plain.jsonl", plain)
    packed = tmp_path / "archived_sessions" / f"rollout-1.jsonl.{suffix}"
    packed.parent.mkdir()
    pack = gzip.compress if suffix == "gz" else zstandard.ZstdCompressor().compress
    packed.write_bytes(pack(plain.read_bytes()))
    first, second = import_paths([packed, plain], team=team)
    assert (len(first.new), first.problems) == (1, [])
    assert (second.exchanges, second.steps, len(second.unchanged)) == (0, 0, 1)


def test_a_packed_file_that_breaks_off_keeps_what_was_whole(team, tmp_path):
    packed = tmp_path / "rollout-1.jsonl.gz"
    content = gzip.compress(b"".join(rollout("thread-1", {"type": "x", "n": i}) for i in range(2000)))
    packed.write_bytes(content[:-200])
    [report] = import_paths([packed], team=team)
    assert "damaged" in report.problems[-1].message


def test_usage_that_a_fork_copied_from_another_thread_is_not_counted(team, tmp_path):
    path = tmp_path / "rollout-1.jsonl"
    foreign = {"thread_id": "another", "response_id": "resp_a", "usage": {"input_tokens": 5, "output_tokens": 5}}
    path.write_bytes(rollout("thread-1", {"type": "token_usage_record", "payload": foreign}, response_ids=("resp_b",)))
    assert imported(path, team).tokens_input == 1000


def test_a_sub_agent_is_a_session_of_its_own_that_names_its_parent(team, tmp_path):
    path = tmp_path / "rollout-2.jsonl"
    source = {"subagent": {"thread_spawn": {"parent_thread_id": "thread-1", "depth": 1}}}
    path.write_bytes(lines({"type": "session_meta", "payload": {"id": "thread-2", "source": source}}))
    session = imported(path, team)
    assert (session.thread_id, session.parent_thread_id) == ("thread-2", "thread-1")


def test_an_aborted_turn_is_the_end_until_the_user_goes_on(team, tmp_path):
    path = tmp_path / "rollout-1.jsonl"
    aborted = {"type": "event_msg", "payload": {"type": "turn_aborted", "reason": "interrupted"}}
    path.write_bytes(rollout("thread-1", aborted))
    session = imported(path, team)
    assert session.ending == "aborted"
    assert session.shown_steps().last().preview == "Turn aborted: interrupted"
    with path.open("ab") as file:
        file.write(lines({"type": "event_msg", "payload": {"type": "task_started"}}))
        file.write(lines({"type": "response_item", "payload": {"id": "m2", **user("Go on.")}}))
    session = imported(path, team)
    assert (session.ending, session.turn_count) == ("", 2)


def test_a_cut_last_line_waits_for_the_rest(team, tmp_path):
    path = tmp_path / "rollout-1.jsonl"
    content = (FILES / "codex-plain.jsonl").read_bytes()
    cut = content.index(b'"AgentMessage"')
    path.write_bytes(content[:cut])
    before = imported(path, team)
    assert before.ending == ""
    path.write_bytes(content)
    after = imported(path, team)
    assert (after.pk, after.ending, after.tokens_input) == (before.pk, "completed", 4300)


def test_a_file_that_was_written_anew_is_read_from_its_beginning(team, tmp_path):
    path = tmp_path / "rollout-1.jsonl"
    path.write_bytes(rollout("thread-1", response_ids=("resp_a", "resp_b")))
    imported(path, team)
    path.write_bytes(rollout("thread-9", response_ids=("resp_c",)))
    assert imported(path, team).thread_id == "thread-9"


def test_broken_lines_are_told_by_their_number_and_the_rest_is_kept(team, tmp_path):
    path = tmp_path / "rollout-1.jsonl"
    good = rollout("thread-1", response_ids=("resp_a",)).splitlines(keepends=True)
    path.write_bytes(b"".join([good[0], b"{broken\n", b"[1]\n", b"[" * 100_000 + b"\n", *good[1:]]))
    [report] = import_paths([path], team=team)
    assert [problem.place for problem in report.problems] == ["line 2", "line 3", "line 4"]
    assert report.exchanges == 1
    assert json.dumps(report.as_dict())


def test_a_line_of_30_mb_is_left_out_and_said_so_in_the_session(team, tmp_path):
    path = tmp_path / "rollout-1.jsonl"
    path.write_bytes(
        rollout("thread-1") + b'{"type":"' + b"x" * 30_000_000 + b'"}\n' + rollout("thread-1", response_ids=("r",))
    )
    [report] = import_paths([path], team=team)
    assert [p.place for p in report.problems] == ["line 4"]
    session = Session.objects.get()
    assert "has 29 MB" in session.shown_steps().get(kind="notice").preview
    assert session.tokens_input == 1000
