"""The live log: lines arrive in order, none is lost or doubled over the end of the run, and a flood is bounded."""

import pytest

from runs import logs
from runs.models import LogChunk, Status
from tests.builders import make_run

pytestmark = pytest.mark.django_db


def test_a_reader_that_follows_sees_every_line_once_across_the_end_of_the_run():
    run = make_run(status=Status.RUNNING)
    log = logs.RunLog(run)
    seen, cursor = [], ""
    for number in range(50):
        log("agent", f"line {number}\n")
        if number % 7 == 0:
            log.flush()
            page = logs.read(run, cursor)
            seen += [line.text for line in page.lines]
            cursor = page.next
    log.close()
    logs.settle(run)
    page = logs.read(run, cursor)
    seen += [line.text for line in page.lines]
    assert seen == [f"line {number}" for number in range(50)]
    assert not LogChunk.objects.exists()


def test_a_reader_far_behind_gets_the_end_and_the_count_of_what_it_missed():
    run = make_run(status=Status.RUNNING)
    log = logs.RunLog(run)
    log("agent", "".join(f"line {number}\n" for number in range(1200)))
    log.close()
    page = logs.read(run, "", limit=500)
    assert (page.omitted, page.lines[0].text, page.lines[-1].text) == (700, "line 700", "line 1199")
    assert logs.read(run, page.next).lines == []


def test_a_flood_is_bounded_keeps_its_end_and_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(logs, "LIVE_CHARS", 2_000)
    monkeypatch.setattr(logs, "TAIL_CHARS", 500)
    run = make_run(status=Status.RUNNING)
    log = logs.RunLog(run)
    for number in range(1000):
        log("agent", f"line {number}")
    log.close()
    lines = logs.unpack("\n".join(LogChunk.objects.order_by("id").values_list("text", flat=True)))
    omitted = [line for line in lines if line.source == "omitted"]
    assert lines[0].text == "line 0"
    assert lines[-1].text == "line 999"
    kept = len(lines) - 1
    assert omitted[0].text == f"{1000 - kept} lines were left out here"


def test_a_line_without_end_is_cut_and_says_so():
    run = make_run(status=Status.RUNNING)
    log = logs.RunLog(run)
    log("agent", "x" * 10_000)
    log.close()
    assert logs.read(run).lines[0].text.endswith("(6000 more characters)")


def test_secrets_of_this_process_never_reach_the_log(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "canary-0123456789")
    run = make_run(status=Status.RUNNING)
    log = logs.RunLog(run)
    log("agent", "the key is canary-0123456789, and sk-abcdefghijklmnopqrstuvwx too")
    log.close()
    assert logs.read(run).lines[0].text == "the key is [redacted], and [redacted] too"
    assert b"canary" not in logs.whole(run)


def test_settling_twice_changes_nothing():
    run = make_run(status=Status.RUNNING)
    log = logs.RunLog(run)
    log("run", "one\ntwo")
    log.close()
    logs.settle(run)
    before = logs.whole(run)
    logs.settle(run)
    run.refresh_from_db()
    assert logs.whole(run) == before
