"""What goes wrong with a judge's service: nothing of it may look like a bad score."""

from __future__ import annotations

import json
import time
from decimal import Decimal

import pytest

from runs.judging import actions, client
from runs.judging.execution import execute
from runs.judging.models import HIDDEN_KEY, Judgement, RunScore
from tests.judging.builders import judge_now, make_judge, make_judged_run, saying
from tests.servers.chat import Reply, chat_server, first_added, quote_of, verdict

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch, settings) -> None:
    monkeypatch.setattr(client, "FIRST_WAIT_S", 0.01)
    settings.MAX_TRIES = 1


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=500),
        Reply(status=503, raw=b"<html>busy</html>"),
        Reply(drops=True),
        Reply(raw=b"{}"),
        Reply(raw=b'{"choices": []}'),
    ],
    ids=["500", "503 in HTML", "connection cut", "empty object", "no choice"],
)
def test_an_outage_leaves_the_score_unknown_and_says_so(reply: Reply) -> None:
    run, rubric = make_judged_run({"key": "adds"})
    with chat_server(lambda asked: reply) as server:
        judgement = judge_now(run, rubric, make_judge(server.url))
    assert (judgement.status, judgement.score, judgement.addressed) == ("unknown", None, None)
    assert "3 tries" in judgement.error
    assert judgement.verdicts.count() == 0
    score = RunScore.objects.get(run=run)
    assert score.score is None
    assert "127.0.0.1" in score.note


def test_a_service_that_says_nothing_is_left_after_the_time_out() -> None:
    run, rubric = make_judged_run({"key": "adds"})
    with chat_server(lambda asked: Reply(hangs=True)) as server:
        judgement = judge_now(run, rubric, make_judge(server.url, parameters={"timeout_s": 0.3, "retries": 0}))
    assert judgement.status == "unknown"
    assert "did not answer within 0.3 s" in judgement.error


def test_what_was_answered_before_an_outage_counts_and_the_rest_is_taken_up_later() -> None:
    run, rubric = make_judged_run({"key": "adds", "weight": "1"}, {"key": "down", "weight": "1"})
    up = False

    def script(asked):
        return Reply(status=500) if asked.key == "down" and not up else saying()(asked)

    with chat_server(script) as server:
        judge = make_judge(server.url, parameters={"parallel": 1})
        judgement = judge_now(run, rubric, judge)
        assert (judgement.status, judgement.score, judgement.coverage) == ("partial", None, 0.5)
        answered = len(server.about("adds"))
        up = True
        judgement = judge_now(run, rubric, judge)
        assert (judgement.status, judgement.score, judgement.coverage) == ("done", 1.0, 1.0)
        assert len(server.about("adds")) <= max(answered, 2)
    assert RunScore.objects.get(run=run).score == 1.0


def test_a_failed_try_goes_back_into_the_queue_for_later(settings) -> None:
    settings.MAX_TRIES = 3
    run, rubric = make_judged_run({"key": "adds"})
    with chat_server(lambda asked: Reply(status=502)) as server:
        judgement = judge_now(run, rubric, make_judge(server.url))
    assert (judgement.status, judgement.failures) == ("queued", 1)
    assert judgement.retry_at is not None
    assert not RunScore.objects.exists()


def test_a_rate_limit_is_waited_for_as_long_as_the_service_asks() -> None:
    run, rubric = make_judged_run({"key": "adds"})

    def script(asked):
        if asked.number == 0:
            return Reply(status=429, headers={"Retry-After": "0.5"}, error={"message": "slow down"})
        return saying()(asked)

    with chat_server(script) as server:
        started = time.monotonic()
        judgement = judge_now(run, rubric, make_judge(server.url, parameters={"parallel": 1, "samples": 1}))
        took = time.monotonic() - started
    assert judgement.score == 1.0
    assert took >= 0.5


@pytest.mark.parametrize("status", [401, 403, 404, 301])
def test_a_fault_of_the_set_up_is_said_at_once_and_not_tried_again(status: int) -> None:
    run, rubric = make_judged_run({"key": "adds"})
    with chat_server(lambda asked: Reply(status=status, headers={"Location": "http://127.0.0.1:1/"})) as server:
        judgement = judge_now(run, rubric, make_judge(server.url, parameters={"parallel": 1}))
        assert len(server.requests) == 1
    assert (judgement.status, judgement.score) == ("failed", None)


def test_a_key_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    run, rubric = make_judged_run({"key": "adds"})
    monkeypatch.delenv("ABSENT_KEY", raising=False)
    judgement = judge_now(run, rubric, make_judge("http://127.0.0.1:9/v1", key_env="ABSENT_KEY"))
    assert judgement.status == "failed"
    assert "ABSENT_KEY" in judgement.error


@pytest.mark.parametrize("name", ["HOME", "ONESHOT_SECRET_KEY", "DJANGO_KEY"])
def test_a_variable_that_holds_no_models_key_is_never_sent(name: str) -> None:
    with pytest.raises(actions.CannotJudge, match=name):
        make_judge("http://127.0.0.1:9/v1", key_env=name)


def test_a_refusal_is_an_answer_that_assesses_nothing() -> None:
    run, rubric = make_judged_run({"key": "adds"})

    def script(asked):
        return saying()(asked) if asked.key == HIDDEN_KEY else Reply(refusal="I cannot help with that.")

    with chat_server(script) as server:
        judgement = judge_now(run, rubric, make_judge(server.url))
    verdict_ = judgement.verdicts.get(key="adds", sample=0)
    assert (verdict_.answer, verdict_.problem) == ("cannot_assess", "refused")
    assert (judgement.status, judgement.score, judgement.coverage) == ("done", None, 0.0)


def test_a_content_filter_is_a_refusal() -> None:
    run, rubric = make_judged_run({"key": "adds"})
    with chat_server(lambda asked: Reply(finish="content_filter")) as server:
        judgement = judge_now(run, rubric, make_judge(server.url))
    assert {row.problem for row in judgement.verdicts.all()} == {"refused"}


MALFORMED = {
    "prose": "It is met, I think.",
    "cut off": '{"criterion_id": "adds", "evidence": [{"ref": "D0',
    "list": "[1, 2]",
    "other verdict": json.dumps({"criterion_id": "adds", "evidence": [], "reasoning": "", "verdict": "yes"}),
    "other criterion": json.dumps({"criterion_id": "zzz", "evidence": [], "reasoning": "", "verdict": "met"}),
    "deep": "[" * 100_000,
    "nothing": "",
    "NUL": "\x00",
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_answer_gets_one_more_try_and_then_assesses_nothing(text: str) -> None:
    run, rubric = make_judged_run({"key": "adds"})
    script = lambda asked: saying()(asked) if asked.key == HIDDEN_KEY else text  # noqa: E731
    with chat_server(script) as server:
        judgement = judge_now(run, rubric, make_judge(server.url, parameters={"samples": 1}))
        assert [asked.is_repair for asked in server.about("adds")] == [False, True]
    row = judgement.verdicts.get(key="adds")
    assert (row.answer, row.problem, row.requests) == ("cannot_assess", "malformed", 2)
    assert judgement.score is None


def test_a_second_try_that_is_well_formed_counts() -> None:
    run, rubric = make_judged_run({"key": "adds"})
    script = lambda asked: saying()(asked) if asked.is_repair else "Well, "  # noqa: E731
    with chat_server(script) as server:
        judgement = judge_now(run, rubric, make_judge(server.url))
    assert judgement.score == 1.0


@pytest.mark.parametrize("refused", ["json_schema", "json_object"])
def test_an_endpoint_without_structured_output_is_asked_in_a_looser_form(refused: str) -> None:
    forms = ["json_schema", "json_object", None]
    left = forms[forms.index(refused) + 1 :]
    run, rubric = make_judged_run({"key": "adds"})

    def script(asked):
        form = asked.body.get("response_format", {}).get("type")
        if form not in left:
            return Reply(status=400, error={"message": f"'response_format' {form} is not supported"})
        return Reply(text="Here you are:\n```json\n" + json.dumps(saying()(asked)) + "\n```")

    with chat_server(script) as server:
        judgement = judge_now(run, rubric, make_judge(server.url))
    assert judgement.score == 1.0


def test_an_endpoint_that_wants_the_other_name_of_the_limit_gets_it() -> None:
    run, rubric = make_judged_run({"key": "adds"})

    def script(asked):
        if "max_tokens" in asked.body:
            message = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
            return Reply(status=400, error={"message": message})
        return saying()(asked)

    with chat_server(script) as server:
        assert judge_now(run, rubric, make_judge(server.url)).score == 1.0


def test_an_invented_quotation_is_asked_about_once_and_then_does_not_count() -> None:
    run, rubric = make_judged_run({"key": "adds"})
    script = lambda asked: verdict(asked, "met", (first_added(asked)[0], "+    return sum((a, b))"))  # noqa: E731
    with chat_server(script) as server:
        judgement = judge_now(run, rubric, make_judge(server.url, parameters={"samples": 1}))
    row = judgement.verdicts.get(key="adds")
    assert (row.stated, row.answer, row.evidence_checked, row.requests) == ("met", "cannot_assess", "invalid", 2)
    assert "does not say" in row.evidence_reason
    assert judgement.score is None


def test_met_without_any_quotation_does_not_count() -> None:
    run, rubric = make_judged_run({"key": "adds"})
    with chat_server(lambda asked: verdict(asked, "met")) as server:
        judgement = judge_now(run, rubric, make_judge(server.url, parameters={"samples": 1}))
    row = judgement.verdicts.get(key="adds")
    assert (row.answer, row.evidence_checked) == ("cannot_assess", "none")


def test_a_quotation_a_line_off_is_mended() -> None:
    run, rubric = make_judged_run({"key": "adds"})

    def script(asked):
        ref, text = quote_of(asked, "return a + b")
        return verdict(asked, "met", (f"D{int(ref[1:]) - 1:04d}", text))

    with chat_server(script) as server:
        judgement = judge_now(run, rubric, make_judge(server.url, parameters={"samples": 1}))
    row = judgement.verdicts.get(key="adds")
    assert (row.answer, row.evidence_checked, row.evidence[0]["line"]) == ("met", "repaired", 2)


def test_a_budget_ends_judging_and_what_is_missing_is_unknown() -> None:
    run, rubric = make_judged_run({"key": "adds"}, {"key": "tested"}, {"key": "named"})
    with chat_server(saying()) as server:
        # An answer costs $0.0018 and is estimated at $0.0033: after two the next would pass the budget.
        judge = make_judge(server.url, run_budget_usd=Decimal("0.006"), parameters={"parallel": 1, "samples": 1})
        judgement = judge_now(run, rubric, judge)
        assert len(server.requests) == 2
    assert (judgement.status, judgement.score) == ("partial", None)
    assert "budget" in judgement.error


def test_a_budget_of_a_day_holds_over_runs() -> None:
    first, rubric = make_judged_run({"key": "adds"})
    second, other = make_judged_run({"key": "other"})
    with chat_server(saying()) as server:
        judge = make_judge(server.url, daily_budget_usd=Decimal("0.0095"))
        assert judge_now(first, rubric, judge).status == "done"
        assert judge_now(second, other, judge).status in ("unknown", "partial")


def test_a_budget_without_a_known_price_is_refused() -> None:
    run, rubric = make_judged_run({"key": "adds"})
    with chat_server(saying()) as server:
        judge = make_judge(server.url, prices={}, run_budget_usd=Decimal(1))
        judgement = judge_now(run, rubric, judge)
        assert server.requests == []
    assert judgement.status == "failed"
    assert "price" in judgement.error


def test_a_worker_that_lost_its_claim_writes_nothing_more() -> None:
    run, rubric = make_judged_run({"key": "adds"})
    taken = []

    def script(asked):
        if not taken:
            # Another worker takes the row over while this answer is on its way.
            taken.append(Judgement.objects.update(tries=7))
        return saying()(asked)

    with chat_server(script) as server:
        judgement = actions.judge_run(run, rubric, make_judge(server.url, parameters={"parallel": 1}))
        execute(str(judgement.pk))
    judgement.refresh_from_db()
    assert (judgement.status, judgement.tries, judgement.verdicts.count()) == ("running", 7, 0)
    assert not RunScore.objects.exists()
