"""The two files that the original OneShot wrote for each evaluation: evaluation_results.json, scoring_results.md.

Unlike the original's, a score that is not known is null, and tests and judge never share a number.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from oneshot import store
from oneshot.visible import visible
from runs.judging.models import Judgement, RunScore

if TYPE_CHECKING:
    from runs.models import Run

BAR = 20
OUTPUT_CHARS = 2_000
DIFF_CHARS = 200_000
DETAIL_CHARS = 500
FAILURE_LINES = 10
VALUE = {"met": 1.0, "not_met": 0.0}


def write(score: RunScore, judgements: Sequence[Judgement]) -> None:
    """Keep both files as artifacts of the run, in place of those of an earlier evaluation."""
    from runs.models import Artifact, Run

    run = Run.objects.select_related("task", "task_version", "agent").get(pk=score.run_id)
    document = evaluation_results(run, score, judgements)
    files = {
        "evaluation_results.json": ("application/json", json.dumps(document, indent=2, ensure_ascii=False)),
        "scoring_results.md": ("text/markdown", scoring_results(run, score, judgements, document)),
    }
    for name, (media_type, text) in files.items():
        data = text.encode("utf-8", "replace")
        Artifact.objects.update_or_create(
            run=run,
            name=name,
            defaults={
                "media_type": media_type,
                "digest": store.put(data),
                "bytes": len(data),
                "created_at": timezone.now(),
            },
        )


def evaluation_results(run: Run, score: RunScore, judgements: Sequence[Judgement]) -> dict[str, Any]:
    """Return the document; `lm_evaluation` is of the first judge, `judges` has them all."""
    by_file = _tests(run)
    by_rubric = _tests_of_rubrics(run, by_file)
    criteria = list(score.rubric.criteria.order_by("position"))
    rubrics: dict[str, dict[str, Any]] = {}
    for criterion in criteria:
        passed, total = by_rubric.get(criterion.key, (0, 0))
        value = passed / total if total else None
        rubrics[criterion.key] = {
            "criterion": criterion.text,
            "weight": float(criterion.weight),
            "kind": criterion.kind,
            "score": value,
            "max_score": 1.0,
            "weighted_score": None if value is None else value * float(criterion.weight),
            "test_count": total,
            "tests_passed": passed,
        }
    tested = [rubric for rubric in rubrics.values() if rubric["score"] is not None and rubric["weight"]]
    weight = sum(rubric["weight"] for rubric in tested)
    evaluated = [_lm_evaluation(judgement) for judgement in judgements]
    return {
        "task_id": run.task.external_id or run.task.slug,
        "run_id": str(run.pk),
        "evaluation": {
            "rubrics": rubrics,
            "total_score": sum(rubric["weighted_score"] for rubric in tested) / weight if weight else None,
            "max_score": 1.0,
        },
        "outcome": run.outcome or None,
        "rubric": score.rubric.number,
        "rubric_score": score.score,
        "rubric_coverage": score.coverage,
        "rubric_note": score.note,
        "judge_calibrated": score.calibrated,
        "test_results": {
            path: {"success": failed == 0, "output": "\n".join(lines)[:OUTPUT_CHARS]}
            for path, (_, failed, lines) in by_file.items()
        },
        "diff_lines": _diff_text(run).count("\n"),
        "agent_metrics": {
            "tokens_total": None
            if run.tokens_input is None or run.tokens_output is None
            else run.tokens_input + run.tokens_output,
            "time_taken_seconds": run.seconds,
            "money_spent_usd": None if run.cost_usd is None else float(run.cost_usd),
        },
        "lm_evaluation": evaluated[0] if evaluated else None,
        "judges": evaluated,
    }


def _lm_evaluation(judgement: Judgement) -> dict[str, Any]:
    from runs.judging.scores import judged

    rows = judged(judgement)
    scores = []
    for row in rows:
        speaker = row.speaker
        quotes = [quote for quote in speaker.evidence if quote["valid"]] if speaker else []
        scores.append(
            {
                "rubric_id": row.criterion.key,
                "score": VALUE.get(row.answer or ""),
                "verdict": row.answer,
                "agreement": row.result.agreement,
                "reasoning": speaker.rationale if speaker else "",
                "evidence": "\n".join(f"{quote['ref']}: {quote['quote']}" for quote in quotes),
                "suggestions": None,
            }
        )
    answers = [row.answer for row in rows]
    summary = (
        f"Evaluated {len(rows)} rubrics: {answers.count('met')} met, {answers.count('not_met')} not met, "
        f"{answers.count('cannot_assess')} could not be assessed, {answers.count(None)} unknown."
    )
    return {
        "weighted_score": judgement.score,
        "rubric_scores": scores,
        "summary": summary,
        "metadata": {
            "judge": judgement.judge.name,
            "model": judgement.judge.model,
            "temperature": judgement.judge.parameter("temperature"),
            "prompt_version": judgement.judge.prompt_version,
            "total_weight": sum(float(row.criterion.weight) for row in rows),
            "evaluation_time_seconds": judgement.seconds,
            "coverage": judgement.coverage,
            "note": judgement.score_note,
            "tokens_input": judgement.tokens_input,
            "tokens_output": judgement.tokens_output,
            "cost_usd": None if judgement.cost_usd is None else float(judgement.cost_usd),
        },
    }


def _tests(run: Run) -> dict[str, tuple[int, int, list[str]]]:
    """Return (passed, failed, lines of what failed) for each test file, of the tests that count."""
    found: dict[str, tuple[int, int, list[str]]] = {}
    rows = run.test_results.filter(group__in=("fail_to_pass", "pass_to_pass"))
    for test_id, verdict, message in rows.order_by("test_id").values_list("test_id", "verdict", "message"):
        path = test_id.partition("::")[0]
        passed, failed, lines = found.get(path, (0, 0, []))
        if verdict == "passed":
            found[path] = (passed + 1, failed, lines)
        else:
            found[path] = (passed, failed + 1, [*lines, f"{verdict}: {test_id} {message}".rstrip()])
    return found


def _tests_of_rubrics(run: Run, by_file: dict[str, tuple[int, int, list[str]]]) -> dict[str, tuple[int, int]]:
    """Return (passed, all) of the tests that the task's author tied to a criterion."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for test in run.task_version.hidden_tests:
        if not test.get("rubric_id"):
            continue
        dotted = test["path"].rpartition(".")[0].replace("/", ".")
        for name, (passed, failed, _) in by_file.items():
            if name in (test["path"], dotted) or name.startswith(f"{dotted}."):
                counts[test["rubric_id"]][0] += passed
                counts[test["rubric_id"]][1] += passed + failed
    return {key: (passed, total) for key, (passed, total) in counts.items()}


def _diff_text(run: Run) -> str:
    try:
        return run.diff().decode("utf-8", "replace")
    except store.ContentMissing:
        return ""


def scoring_results(run: Run, score: RunScore, judgements: Sequence[Judgement], document: dict[str, Any]) -> str:
    """Return the report for people, in the order of sections of the original's."""
    parts = [
        "# Scoring Results",
        f"**Run ID:** {run.pk}  \n**Task:** {run.task.slug} v{run.task_version.number}  \n**Title:** "
        f"{_line(run.task_version.title)}  \n**Outcome by tests:** {run.outcome or 'ungraded'}",
        _overall(score),
        _breakdown(document),
        _metrics(run),
        *[_details(evaluation) for evaluation in document["judges"]],
        _test_part(document),
    ]
    diff = _diff_text(run)
    shown = diff[:DIFF_CHARS]
    cut = f"\n… {len(diff) - len(shown)} more characters" if len(diff) > len(shown) else ""
    parts.append(
        f"## Agent's Changes\n\n+{run.lines_added or 0} -{run.lines_removed or 0}\n\n{_block(shown + cut, 'diff')}"
    )
    parts.append(f"## Task Instructions\n\n{_block(run.task_version.instructions)}")
    parts.append(f"## Final Summary\n\n{_summary(run, score)}")
    return "\n\n".join(parts) + "\n"


def _overall(score: RunScore) -> str:
    if score.score is None:
        return f"## Overall Score\n\nRubric: unknown. {_line(score.note)}"
    filled = round(score.score * BAR)
    bar = "█" * filled + "░" * (BAR - filled)
    word = "pass" if score.score >= 1.0 else "partial" if score.score >= 0.5 else "fail"
    coverage = "" if score.coverage is None else f", {score.coverage:.0%} of the weight assessed"
    mark = "calibrated judge" if score.calibrated else "judge not calibrated"
    note = f"\n\n{_line(score.note)}" if score.note else ""
    return f"## Overall Score\n\nRubric: {score.score:.0%} {bar} ({word}{coverage}; {mark}){note}"


def _breakdown(document: dict[str, Any]) -> str:
    judged = {item["rubric_id"]: item for item in (document["lm_evaluation"] or {"rubric_scores": []})["rubric_scores"]}
    rows = ["| Criterion | Kind | Weight | Judge | Tests |", "|---|---|---|---|---|"]
    for key, rubric in document["evaluation"]["rubrics"].items():
        verdict = (judged.get(key) or {}).get("verdict") or "unknown"
        tests = f"{rubric['tests_passed']}/{rubric['test_count']}" if rubric["test_count"] else "none"
        rows.append(
            f"| {_cell(key)} | {rubric['kind']} | {rubric['weight']:g} | {verdict.replace('_', ' ')} | {tests} |"
        )
    return "## Scoring Breakdown\n\n" + "\n".join(rows)


def _metrics(run: Run) -> str:
    tokens = "unknown" if run.tokens_input is None else f"{run.tokens_input} in, {run.tokens_output or 0} out"
    return (
        "## Quantitative Metrics\n\n"
        f"- Time: {'unknown' if run.seconds is None else f'{run.seconds:.1f} s'}\n- Tokens: {tokens}\n"
        f"- Cost: {'unknown' if run.cost_usd is None else f'${run.cost_usd:.4f}'}"
    )


def _details(evaluation: dict[str, Any]) -> str:
    about = evaluation["metadata"]
    lines = [f"## LLM Rubric Details: {_line(about['judge'])} ({_line(about['model'])})", evaluation["summary"]]
    for item in evaluation["rubric_scores"]:
        verdict = (item["verdict"] or "unknown").replace("_", " ")
        agreement = "" if item["agreement"] is None else f", {item['agreement']:.0%} of samples agree"
        lines.append(f"### {_line(item['rubric_id'])}: {verdict}{agreement}")
        if item["reasoning"]:
            lines.append(_block(item["reasoning"][:DETAIL_CHARS]))
        if item["evidence"]:
            lines.append(_block(item["evidence"][:DETAIL_CHARS]))
    return "\n\n".join(lines)


def _test_part(document: dict[str, Any]) -> str:
    if not document["test_results"]:
        return "## Test Results\n\nNo test was run."
    lines = ["## Test Results"]
    for path, result in document["test_results"].items():
        lines.append(f"- {_line(path)}: {'PASSED' if result['success'] else 'FAILED'}")
        if not result["success"]:
            lines.append(_block("\n".join(result["output"].split("\n")[:FAILURE_LINES])))
    return "\n\n".join(lines)


def _summary(run: Run, score: RunScore) -> str:
    value = "unknown" if score.score is None else f"{score.score:.0%}"
    return f"Tests: {run.outcome or 'ungraded'}. Rubric: {value}. The judge never turns a failed run into a pass."


def _line(text: str) -> str:
    return visible(" ".join(str(text).split()))[:300]


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")


def _block(text: str, language: str = "") -> str:
    """Return a fenced block whose fence is longer than any run of backticks inside."""
    longest, run = 2, 0
    for character in text:
        run = run + 1 if character == "`" else 0
        longest = max(longest, run)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{visible(text)}\n{fence}"
