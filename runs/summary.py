"""A run in words for the terminal, and as the JSON that scripts rely on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings

from runs.models import Judgement, Outcome, Run, RunScore, Status, TestResult

SIDES = {"task": "the task", "agent": "the agent", "infra": "this installation"}


def as_dict(run: Run) -> dict[str, Any]:
    """Return the document of one run, with None for what is unknown."""
    return {
        "id": str(run.pk),
        "slug": run.task.slug,
        "version": run.task_version.number,
        "agent": run.agent.name,
        "model": run.agent.model,
        "attempt": run.attempt,
        "sandbox": run.sandbox,
        "isolation": run.isolation,
        "status": str(run.status),
        "outcome": run.outcome or None,
        "error": run.error,
        "fault": run.fault or None,
        "fail_to_pass": {"passed": run.fail_to_pass_passed, "failed": run.fail_to_pass_failed},
        "pass_to_pass": {"passed": run.pass_to_pass_passed, "failed": run.pass_to_pass_failed},
        "rubric_score": rubric_score(run),
        # Whether every judge that it comes from agrees with people; None when nobody has judged the run.
        "rubric_calibrated": RunScore.objects.filter(run=run.pk).values_list("calibrated", flat=True).first(),
        "tokens": {"input": run.tokens_input, "cached": run.tokens_cached, "output": run.tokens_output},
        "cost_usd": None if run.cost_usd is None else float(run.cost_usd),
        # With some, the cost is a lower bound.
        "answers_without_cost": run.detail.get("answers_without_cost", 0),
        "limits": run.limits,
        "session": str(run.session_id) if run.session_id else None,
        "seconds": {name: round(seconds, 3) for name, seconds in run.phase_seconds().items()},
        "diff_bytes": run.diff_bytes,
        "url": url(run),
    }


def rubric_score(run: Run) -> float | None:
    """Return the judge's score, 0 to 1; None when it is unknown or nobody has judged the run."""
    return RunScore.objects.filter(run=run.pk).values_list("score", flat=True).first()


def url(run: Run) -> str:
    """Return the address of the run's page: on the server that is up with this data, unless ONESHOT_URL says where."""
    if not os.environ.get("ONESHOT_URL"):
        with contextlib.suppress(OSError):
            address = (Path(settings.DATA_DIR) / "up.lock").read_text(encoding="utf-8").strip()
            if address.startswith("http"):
                return f"{address}{run.get_absolute_url()}"
    return f"{settings.SITE_URL}{run.get_absolute_url()}"


def ending(run: Run) -> str:
    """Return how the run ended, or where it stands, in a word or two."""
    return str(Outcome(run.outcome).label if run.outcome else Status(run.status).label)


def progress_line(run: Run) -> str:
    """Return one line of progress: which run, and where it is now."""
    which = f"{run.task.slug} · {run.agent.name} · attempt {run.attempt}"
    if run.status == Status.QUEUED and run.error:
        return f"{which}: waits for another try. {run.error}"
    if run.status in (Status.INFRA_FAILED, Status.CANCELLED):
        return f"{which}: {ending(run)}. {run.error}"
    return f"{which}: {ending(run)}"


def judged_line(row: Judgement) -> str:
    """Return one line of progress of a judge: which run, and its score or why there is none."""
    which = f"{row.run.task.slug} attempt {row.run.attempt}, {row.judge.name}"
    if row.status == Judgement.Status.QUEUED:
        return f"{which}: waits for another try. {row.error}"
    score = "unknown" if row.score is None else f"{row.score:.3f}"
    why = row.score_note or row.error
    return f"{which}: {row.get_status_display()}, rubric {score}" + (f". {why}" if why else "")


def as_text(runs: Sequence[Run]) -> str:
    """Return the summary of some runs of one command, the way a person wants to read it."""
    return "\n".join([block for run in runs for block in _run_lines(run)] + (_totals(runs) if len(runs) > 1 else []))


def _run_lines(run: Run) -> list[str]:
    lines = [
        "",
        f"{ending(run)}: {run.task.slug} v{run.task_version.number} by {run.agent}, attempt {run.attempt}",
    ]
    if run.error:
        whose = f" (at fault: {SIDES[run.fault]})" if run.fault in SIDES else ""
        lines.append(f"  {run.error}{whose}")
    if reason := run.detail.get("grading"):
        lines.append(f"  {reason}")
    lines += _test_lines(run)
    lines += _rubric_lines(run)
    seconds = run.phase_seconds()
    spent = ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items() if value >= 0.05)
    lines.append(f"  Tokens    {_tokens(run)}")
    lines.append(f"  Cost      {_cost(run)}")
    lines.append(
        f"  Time      {'unknown' if run.seconds is None else f'{run.seconds:.1f} s'}" + (f" ({spent})" if spent else "")
    )
    if run.diff_bytes is not None:
        lines.append(f"  Diff      {run.diff_bytes} bytes, +{run.lines_added or 0} -{run.lines_removed or 0}")
    lines.append(
        f"  Sandbox   {run.sandbox}, {'not isolated' if run.isolation == 'none' else run.isolation or 'none made'}"
    )
    lines.append(f"  Page      {url(run)}")
    return lines


def _test_lines(run: Run) -> list[str]:
    if run.fail_to_pass_passed is None:
        return []
    lines = [f"  To fix    {_share(run.fail_to_pass_passed, run.fail_to_pass_failed)}"]
    if run.pass_to_pass_passed is not None:
        lines.append(f"  To keep   {_share(run.pass_to_pass_passed, run.pass_to_pass_failed)}")
    by_file: dict[str, list[int]] = {}
    counted = (TestResult.Group.FAIL_TO_PASS, TestResult.Group.PASS_TO_PASS)
    rows = run.test_results.filter(group__in=counted).values_list("test_id", "verdict")
    for test_id, verdict in rows:
        place = by_file.setdefault(test_id.partition("::")[0], [0, 0])
        place[verdict != TestResult.Verdict.PASSED] += 1
    for name, (passed, failed) in sorted(by_file.items())[:40]:
        lines.append(f"    {'ok  ' if not failed else 'FAIL'} {name}: {passed} passed, {failed} failed")
    if len(by_file) > 40:
        lines.append(f"    and {len(by_file) - 40} more files")
    return lines


def _rubric_lines(run: Run) -> list[str]:
    """Return the score by the rubric, and each criterion with its weight and answer; nothing for an unjudged run."""
    row = RunScore.objects.filter(run=run.pk).first()
    if row is None:
        return []
    from runs.judging.scores import judged

    names = ", ".join(judge["name"] for judge in row.judges)
    value = "unknown" if row.score is None else f"{row.score:.0%}"
    mark = "calibrated" if row.calibrated else "not calibrated"
    lines = [f"  Rubric    {value} by {names} ({mark})" + (f". {row.note}" if row.note else "")]
    judgement = run.judgements.filter(rubric=row.rubric_id, judge=row.judges[0]["id"]).first() if row.judges else None
    for item in judged(judgement) if judgement else ():
        criterion = item.criterion
        kind = "" if criterion.kind == "important" else f", {criterion.kind}"
        lines.append(f"    {item.label.lower():<13} {criterion.key} (weight {criterion.weight.normalize():f}{kind})")
    return lines


def _share(passed: int | None, failed: int | None) -> str:
    if passed is None or failed is None:
        return "unknown"
    return f"{passed} of {passed + failed} passed"


def _tokens(run: Run) -> str:
    if run.tokens_input is None and run.tokens_output is None:
        return "unknown"
    cached = f" ({run.tokens_cached} cached)" if run.tokens_cached else ""
    budget = f" (budget {run.limits['max_tokens']})" if "max_tokens" in run.limits else ""
    return f"{run.tokens_input or 0} in{cached}, {run.tokens_output or 0} out{budget}"


def _cost(run: Run) -> str:
    if run.cost_usd is None:
        return "unknown"
    unknown = run.detail.get("answers_without_cost", 0)
    budget = run.limits.get("max_cost_usd")
    least = f"at least ${run.cost_usd:.4f} ({unknown} answers unknown)" if unknown else f"${run.cost_usd:.4f}"
    return least + (f" of ${budget}" if budget else "")


def _totals(runs: Sequence[Run]) -> list[str]:
    graded = [run for run in runs if run.is_graded]
    solved = sum(run.outcome == Outcome.RESOLVED for run in graded)
    left_out = len(runs) - len(graded)
    beside = f", {left_out} ungraded and not counted" if left_out else ""
    return ["", f"Total: {solved} of {len(graded)} resolved{beside}"]
