"""What the gateway recorded becomes sessions: incrementally, once, beside its being written."""

import json
import sqlite3
import threading

import pytest

from tests.builders import make_team
from tests.traces.wire import NOON, call, exchange, output, picture, record, rollout, say, short_session, user
from traces import bodies, importing
from traces.importing import import_for_run, import_new, import_paths, import_thread
from traces.models import Session
from traces.proxy import database_path

pytestmark = pytest.mark.django_db


@pytest.fixture
def team():
    return make_team()


@pytest.fixture
def database(tmp_path, settings):
    settings.DATA_DIR = tmp_path
    return database_path()


def test_a_session_has_its_exchanges_and_what_they_say(team, database):
    record(database, *short_session())
    [report] = import_paths([database], team=team)
    assert (report.reader, len(report.new), report.exchanges, report.problems) == ("proxy", 1, 2, [])
    session = Session.objects.get()
    assert (session.agent, session.agent_version, session.thread_id) == ("codex", "0.169.0", "thread-1")
    assert [(s.kind, s.preview, s.result_preview) for s in session.shown_steps()] == [
        ("user", "Mend it.", ""),
        ("tool", "ls", "a.py\n"),
        ("assistant", "Mended.", ""),
    ]
    assert (session.tokens_input, session.tokens_cached, session.tokens_output) == (2000, 400, 100)
    # Twice 800 at 1.25, 200 at 0.125 and 50 at 10 dollars a million.
    assert str(session.cost_usd) == "0.003050"
    assert session.model_seconds == pytest.approx(4)


def test_a_request_names_its_messages_which_are_kept_once(team, database):
    record(database, *short_session())
    import_paths([database], team=team)
    session = Session.objects.get()
    first, second = session.exchanges.order_by("started_at")
    asked = importing_json(second.request_ref)
    assert asked["head"]["model"] == "gpt-5"
    assert "input" not in asked["head"]
    assert asked["messages"][0] == importing_json(first.request_ref)["messages"][0]
    assert [importing_json(ref)["type"] for ref in asked["messages"]] == [
        "message",
        "function_call",
        "function_call_output",
    ]
    assert "Mended." in bodies.read_text(second.response_ref)
    assert session.stored_messages.count() == 3


def importing_json(ref):
    return json.loads(bodies.read(ref))


def test_importing_again_changes_nothing(team, database):
    record(database, *short_session())
    import_paths([database], team=team)
    before, stamp = picture(), Session.objects.get().updated_at
    [again] = import_paths([database], team=team)
    assert (again.exchanges, again.steps) == (0, 0)
    # Also when it has been forgotten how far it was read.
    importing.ImportCursor.objects.all().delete()
    [again] = import_paths([database], team=team)
    assert (again.exchanges, again.steps, len(again.unchanged)) == (0, 0, 1)
    assert picture() == before
    assert Session.objects.get().updated_at == stamp


def test_what_comes_later_is_added(team, database):
    first, second = short_session()
    record(database, first)
    assert import_new(team) == 1
    assert import_new(team) == 0
    record(database, second)
    assert import_new(team) == 1
    pieces = picture()
    Session.objects.all().delete()
    importing.ImportCursor.objects.all().delete()
    assert import_new(team) == 2
    assert picture() == pieces


def test_another_database_in_its_place_is_read_from_its_beginning(team, database):
    record(database, *short_session("thread-1"))
    import_new(team)
    for path in database.parent.iterdir():
        path.unlink()
    record(database, *short_session("thread-2"))
    assert import_new(team) == 2


def test_the_import_reads_while_the_gateway_writes(team, database):
    done = threading.Event()

    def write() -> None:
        for number in range(40):
            record(database, *short_session(f"thread-{number}", NOON + number))
        done.set()

    record(database, exchange(say("x"), session="first"))
    writer = threading.Thread(target=write)
    writer.start()
    try:
        while not done.is_set():
            import_new(team)
    finally:
        writer.join()
    import_new(team)
    assert Session.objects.count() == 41
    assert set(Session.objects.exclude(thread_id="first").values_list("request_count", flat=True)) == {2}


def test_wire_and_transcript_are_one_session_with_the_best_of_each(team, database, tmp_path):
    first, second = short_session()
    record(database, first, second)
    path = tmp_path / "rollout-1.jsonl"
    path.write_bytes(rollout("thread-1", response_ids=(first.response_id, second.response_id)))
    for order in ([path, database], [database, path]):
        Session.objects.all().delete()
        importing.ImportCursor.objects.all().delete()
        import_paths(order, team=team)
        session = Session.objects.get()
        assert (session.request_count, session.tokens_input, session.tokens_output) == (2, 2000, 100)
        assert set(session.exchanges.values_list("source", "status")) == {("proxy", 200)}
        assert session.steps_from == "codex"
        assert session.cwd == "/home/dev/shop"
        assert session.shown_steps().filter(exchange=session.exchanges.get(key=first.response_id)).exists()
        assert session.steps.filter(source="proxy").count() == 3
        assert {source["kind"] for source in session.sources} == {"codex", "proxy"}


def test_totals_of_an_old_rollout_are_not_added_to_the_wires(team, database, tmp_path):
    one = exchange(say("Mended."), tokens=(1000, 200, 50))
    record(database, one)
    usage = {"input_tokens": 1000, "cached_input_tokens": 200, "output_tokens": 50, "total_tokens": 1050}
    info = {"total_token_usage": usage, "last_token_usage": usage}
    counted = {
        "timestamp": "2025-11-20T12:00:02Z",
        "type": "event_msg",
        "payload": {"type": "token_count", "info": info},
    }
    path = tmp_path / "rollout-1.jsonl"
    path.write_bytes(rollout("thread-1", counted))
    for order in ([path, database], [database, path]):
        Session.objects.all().delete()
        importing.ImportCursor.objects.all().delete()
        import_paths(order, team=team)
        assert Session.objects.get().tokens_input == 1000


def test_a_request_that_failed_and_was_sent_again_costs_once(team, database):
    asked = [user("Mend it.")]
    failed = exchange(history=asked, status=500, tokens=None, response_id="", error="server_error: oops")
    unanswered = exchange(history=asked, at=NOON + 3, status=None, tokens=None, response_id="")
    answered = exchange(say("Mended."), history=asked, at=NOON + 6)
    record(database, failed, unanswered, answered)
    import_new(team)
    session = Session.objects.get()
    assert (session.request_count, session.retried_count) == (3, 2)
    assert (session.tokens_input, session.unknown_usage_count, session.unknown_cost_count) == (1000, 0, 0)
    assert set(session.exchanges.filter(retried=True).values_list("status", flat=True)) == {500, None}


def test_what_is_unknown_is_never_nothing(team, database):
    record(database, exchange(say("a"), tokens=None), exchange(say("b"), model="house-model", at=NOON + 3))
    import_new(team)
    session = Session.objects.get()
    assert (session.tokens_input, session.unknown_usage_count) == (1000, 1)
    assert (session.cost_usd, session.unknown_cost_count) == (None, 2)


def test_requests_that_are_none_to_a_model_are_kept_but_not_counted(team, database):
    models = exchange(method="GET", url="http://x/v1/models", tokens=None, response_id="", response=b"{}")
    record(database, models, *short_session())
    import_new(team)
    session = Session.objects.get()
    assert (session.exchanges.count(), session.request_count, session.unknown_usage_count) == (3, 2, 0)


def test_answers_with_the_same_id_that_were_recorded_apart_are_two(team, database):
    record(database, exchange(say("a"), response_id="r"), exchange(say("b"), response_id="r", at=NOON + 3))
    import_new(team)
    assert Session.objects.get().tokens_input == 2000
    importing.ImportCursor.objects.all().delete()
    assert import_new(team) == 0


def test_the_same_words_said_twice_are_two_steps(team, database):
    asked = [user("Go on."), say("Done."), user("Go on.")]
    record(database, exchange(say("Done."), history=asked[:1]), exchange(say("Done."), history=asked, at=NOON + 5))
    import_new(team)
    assert [s.kind for s in Session.objects.get().shown_steps()] == ["user", "assistant", "user", "assistant"]
    assert Session.objects.get().turn_count == 2


def test_what_names_no_session_is_parted_by_pauses(team, database):
    nameless = [exchange(say(str(n)), session="", at=NOON + at) for n, at in enumerate((0, 600, 9000))]
    record(database, *nameless)
    import_new(team)
    assert sorted(Session.objects.values_list("request_count", flat=True)) == [1, 2]


def test_gaps_of_the_gateway_stand_in_the_sessions_they_concern(team, database):
    away = {"t_from": NOON + 1, "t_to": NOON + 3, "reason": "the disk was full", "count": 3}
    before = {"t_from": NOON - 900, "t_to": NOON - 800, "reason": "not running"}
    record(database, *short_session("thread-1"), *short_session("thread-2", NOON + 5000), gaps=(away, before))
    import_new(team)
    assert [gap["reason"] for gap in Session.objects.get(thread_id="thread-1").gaps] == [
        "the disk was full (3 exchanges not kept)"
    ]
    assert Session.objects.get(thread_id="thread-2").gaps == []
    record(database, gaps=({**away, "session": "thread-2", "reason": "cut"},))
    import_new(team)
    assert len(Session.objects.get(thread_id="thread-2").gaps) == 1
    stamp = Session.objects.get(thread_id="thread-2").updated_at
    import_new(team)
    assert Session.objects.get(thread_id="thread-2").updated_at == stamp


def test_a_broken_row_is_told_and_the_rest_is_kept(team, database):
    record(database, *short_session(), exchange(say("x"), session="thread-2"))
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE exchange SET response_body = x'00ff' WHERE seq = 2")
        connection.execute("UPDATE exchange SET request_messages = '{' WHERE seq = 3")
    [report] = import_paths([database], team=team)
    assert [problem.place for problem in report.problems] == ["exchange 2", "exchange 3"]
    assert Session.objects.get(thread_id="thread-1").request_count == 1


# One session, and a run's


def test_one_session_is_found_by_its_id_with_its_transcript(team, database, tmp_path, monkeypatch):
    first, second = short_session("aaaabbbb-0001")
    record(database, first, second, *short_session("aaaabbbb-0002"))
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    folder = tmp_path / "codex" / "sessions" / "2025" / "11" / "20"
    folder.mkdir(parents=True)
    ids = (first.response_id, second.response_id)
    (folder / "rollout-2025-11-20T12-00-00-aaaabbbb-0001.jsonl").write_bytes(rollout("aaaabbbb-0001", response_ids=ids))
    session = import_thread(agent="codex", thread_id="aaaabbbb-0001", team=team)
    assert session is not None
    assert Session.objects.count() == 1
    assert (session.request_count, session.steps_from) == (2, "codex")
    third = exchange(say("More."), session="aaaabbbb-0001", at=NOON + 60)
    record(database, third)
    assert import_thread(agent="codex", thread_id="aaaabbbb-0001", team=team).request_count == 3
    assert import_new(team) == 2


@pytest.mark.parametrize("thread_id", ["../../etc/passwd", "*", "", "a/b", "..", "x" * 500, "%"])
def test_an_id_that_is_no_plain_name_finds_nothing(team, database, thread_id):
    assert import_thread(agent="codex", thread_id=thread_id, team=team) is None


def test_a_run_has_its_exchanges_and_transcripts_and_nobody_elses(team, database):
    asked = [user("Mend it."), call("c", "ls"), output("c", "x")]
    first = exchange(asked[1], door="run", run="run-1", history=asked[:1])
    second = exchange(say("Mended."), door="run", run="run-1", at=NOON + 5, history=asked)
    record(database, first, second, exchange(say("x"), door="run", run="run-2"), *short_session("mine"))
    transcripts = {"../rollout-1.jsonl": rollout("thread-1", response_ids=(first.response_id, second.response_id))}
    arguments = {"run_id": "run-1", "team": team, "public": True, "agent": "codex", "transcripts": transcripts}
    session = import_for_run(**arguments)
    assert session is not None
    assert (session.origin, session.public, session.request_count, session.steps_from) == ("run", True, 2, "codex")
    before = picture()
    assert import_for_run(**arguments).pk == session.pk
    assert picture() == before
    # What is a run's is no person's.
    assert import_new(team) == 2
    assert Session.objects.filter(origin="person").count() == 1


def test_a_run_that_said_nothing_has_no_session(team, database):
    assert import_for_run(run_id="r", team=team, public=False, agent="command", transcripts={}) is None
    assert (
        import_for_run(run_id="r", team=team, public=False, agent="command", transcripts={"a.jsonl": b"junk"}) is None
    )


def test_a_run_whose_agent_names_no_session_has_one_named_for_it(team, database):
    record(database, *[exchange(say("a"), session="", run="r-7", door="run", at=NOON + 9000 * n) for n in range(2)])
    session = import_for_run(run_id="r-7", team=team, public=False, agent="command", transcripts={})
    assert (session.thread_id, session.request_count) == ("run-r-7", 2)
