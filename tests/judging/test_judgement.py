"""A run judged through a real socket: what is asked, what is recorded, and what the score then is."""

from __future__ import annotations

import json
import logging
from decimal import Decimal

import pytest

from oneshot import store
from runs.judging.models import HIDDEN_KEY, RunScore, Verdict
from runs.models import Artifact
from tests.judging.builders import KEY, judge_now, make_judge, make_judged_run, saying
from tests.servers.chat import Reply, chat_server, first_added, quote_of, verdict

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_run_is_judged_criterion_by_criterion_with_checked_evidence() -> None:
    run, rubric = make_judged_run({"key": "adds", "weight": "3"}, {"key": "tested", "weight": "1"})
    with chat_server(saying(tested="not_met")) as server:
        judgement = judge_now(run, rubric, make_judge(server.url))

    assert (judgement.status, judgement.error) == ("done", "")
    assert (judgement.score, judgement.coverage) == (0.75, 1.0)
    assert judgement.addressed is False
    first = judgement.verdicts.get(key="adds", sample=0)
    assert (first.answer, first.evidence_checked) == ("met", "valid")
    assert first.evidence[0] | {"ref": ""} == {
        "ref": "", "quote": "+    return a + b", "valid": True, "reason": "",
        "path": "adder.py", "side": "new", "line": 2, "step": None,
    }  # fmt: skip
    # Two samples agree, so the third is not asked; the hidden question is asked once.
    assert [len(server.about(key)) for key in ("adds", "tested", HIDDEN_KEY)] == [2, 2, 1]
    score = RunScore.objects.get(run=run)
    assert (score.score, score.calibrated, score.judges[0]["name"]) == (0.75, False, "scripted")


def test_the_request_is_strict_and_carries_the_key_in_its_header_alone() -> None:
    run, rubric = make_judged_run("It adds.")
    with chat_server(saying()) as server:
        judge_now(run, rubric, make_judge(server.url, parameters={"temperature": 0.3, "seed": 7, "max_tokens": 900}))
    asked = server.requests[0]
    assert asked.authorization == f"Bearer {KEY}"
    assert asked.body["response_format"]["json_schema"]["strict"] is True
    schema = asked.body["response_format"]["json_schema"]["schema"]
    assert set(schema["required"]) == set(schema["properties"])
    assert (asked.body["temperature"], asked.body["seed"], asked.body["max_tokens"]) == (0.3, 7, 900)
    assert KEY not in json.dumps(asked.body)


def test_no_key_reaches_a_row_the_store_or_a_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    diff = b"diff --git a/k b/k\nnew file mode 100644\n--- /dev/null\n+++ b/k\n@@ -0,0 +1 @@\n+" + KEY.encode() + b"\n"
    run, rubric = make_judged_run("It adds.", diff=diff)
    script = lambda asked: verdict(asked, "not_met", reasoning=f"It leaks {KEY}")  # noqa: E731
    with chat_server(script) as server:
        judgement = judge_now(run, rubric, make_judge(server.url))
    assert judgement.status == "done"
    assert all(KEY not in asked.prompt for asked in server.requests)
    assert KEY not in caplog.text
    for row in Verdict.objects.all():
        assert KEY not in json.dumps([row.rationale, row.evidence]) + store.get_text(row.reply_digest)


def test_tokens_and_cost_are_counted_and_unknown_when_one_answer_does_not_say() -> None:
    run, rubric = make_judged_run("It adds.")
    with chat_server(saying()) as server:
        judgement = judge_now(run, rubric, make_judge(server.url))
    # 3 answers of 600 fresh, 400 cached and 100 output tokens, at $1, $0.5 and $10 per million.
    assert (judgement.requests, judgement.tokens_input, judgement.tokens_output) == (3, 3000, 300)
    assert judgement.cost_usd == 3 * Decimal("0.0018")

    run, rubric = make_judged_run("It adds twice.")
    with chat_server(lambda asked: Reply(text=json.dumps(saying()(asked)), usage=None)) as server:
        judgement = judge_now(run, rubric, make_judge(server.url, "silent"))
    assert (judgement.score, judgement.tokens_input, judgement.cost_usd) == (1.0, None, None)


def test_samples_that_differ_are_asked_on_until_one_answer_leads() -> None:
    run, rubric = make_judged_run({"key": "adds"})

    def script(asked):
        if asked.key == "adds" and asked.same == 1:
            return verdict(asked, "not_met")
        return saying()(asked)

    with chat_server(script) as server:
        judgement = judge_now(run, rubric, make_judge(server.url))
    answers = list(judgement.verdicts.filter(key="adds").values_list("answer", flat=True))
    assert sorted(answers) == ["met", "met", "not_met"]
    assert judgement.score == 1.0


def test_three_different_answers_are_no_answer() -> None:
    run, rubric = make_judged_run({"key": "adds"})

    def script(asked):
        if asked.key != "adds":
            return saying()(asked)
        answer = ("met", "not_met", "cannot_assess")[asked.same]
        return verdict(asked, answer, *([first_added(asked)] if answer == "met" else []))

    with chat_server(script) as server:
        judgement = judge_now(run, rubric, make_judge(server.url, parameters={"parallel": 1}))
    assert (judgement.score, judgement.coverage) == (None, 0.0)
    assert "0%" in judgement.score_note


def test_an_equal_question_is_not_asked_again() -> None:
    run, rubric = make_judged_run("It adds.")
    other, _ = make_judged_run("It adds.", task=None)
    with chat_server(saying()) as server:
        judge = make_judge(server.url)
        judge_now(run, rubric, judge)
        asked = len(server.requests)
        same = judge_now(other, other.task.rubrics.get(), judge)
        assert len(server.requests) == asked
    assert (same.score, same.requests, same.cost_usd) == (1.0, 0, 0)
    assert all(row.cached for row in same.verdicts.all())


def test_both_files_of_the_original_are_left_as_artifacts() -> None:
    run, rubric = make_judged_run({"key": "adds", "weight": "0.6"}, {"key": "tested", "weight": "0.4"})
    with chat_server(saying(tested="not_met")) as server:
        judge_now(run, rubric, make_judge(server.url))
    document = json.loads(store.get(Artifact.objects.get(run=run, name="evaluation_results.json").digest))
    assert document["lm_evaluation"]["weighted_score"] == 0.6
    assert {row["rubric_id"]: row["score"] for row in document["lm_evaluation"]["rubric_scores"]} == {
        "adds": 1.0,
        "tested": 0.0,
    }
    assert document["evaluation"]["rubrics"]["adds"]["max_score"] == 1.0
    # No test is tied to a criterion: unknown, and not 0.
    assert document["evaluation"]["total_score"] is None
    text = store.get_text(Artifact.objects.get(run=run, name="scoring_results.md").digest)
    sections = [line for line in text.split("\n") if line.startswith("## ")]
    assert sections[:3] == ["## Overall Score", "## Scoring Breakdown", "## Quantitative Metrics"]
    assert "return a + b" in text


def test_two_judges_give_their_mean_and_how_far_they_are_apart() -> None:
    run, rubric = make_judged_run({"key": "adds"}, {"key": "tested"})
    with chat_server(saying()) as mild, chat_server(saying(tested="not_met")) as strict:
        judge_now(run, rubric, make_judge(mild.url, "mild", is_default=True))
        judge_now(run, rubric, make_judge(strict.url, "strict", is_default=True))
    score = RunScore.objects.get(run=run)
    assert (score.score, score.spread, len(score.judges)) == (0.75, 0.5, 2)


def test_a_run_that_changed_nothing_is_judged_by_that() -> None:
    run, rubric = make_judged_run({"key": "adds"}, diff=b"", outcome="empty_patch")
    script = lambda asked: verdict(asked, "not_met", quote_of(asked, "changed nothing"))  # noqa: E731
    with chat_server(script) as server:
        judgement = judge_now(run, rubric, make_judge(server.url))
    assert (judgement.score, judgement.coverage) == (0.0, 1.0)
