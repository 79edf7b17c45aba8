"""Gathers from the rows what there is to judge about a run, without secrets."""

from __future__ import annotations

from oneshot import store
from runs.judging import prompts
from runs.judging.evidence import Material, Section, sections
from runs.judging.models import HIDDEN_KEY, JudgeConfig
from runs.models import Outcome, Run
from tasks.models import Criterion
from traces.models import Step
from traces.redaction import MASK, redact

MOST_TESTS = 5_000
MOST_STEPS = 2_000
SHOWN_STEPS = (Step.Kind.ASSISTANT, Step.Kind.TOOL, Step.Kind.PATCH)


class MaterialMissing(Exception):
    """The content store has lost what is to be judged."""


def gather(run: Run) -> Material:
    """Return what is known of a run. Raises MaterialMissing when its diff is gone from the content store."""
    try:
        diff = run.diff()
    except store.ContentMissing as error:
        raise MaterialMissing(str(error)) from error
    rows = run.test_results.values_list("group", "test_id", "verdict", "message").order_by("group", "test_id")
    return Material(
        instructions=_clean(run.task_version.instructions),
        diff=clean_diff(diff),
        tests=[(group, _clean(test), verdict, _clean(message)) for group, test, verdict, message in rows[:MOST_TESTS]],
        test_summary=_summary(run),
        steps=_steps(run),
        final_message=_clean(str(run.detail.get("final_message") or "")),
    )


def _clean(text: str) -> str:
    return redact(text) if text else ""


def clean_diff(diff: bytes) -> bytes:
    """Return a diff without secrets in which every line keeps its place."""
    text = diff.decode("utf-8", "surrogateescape")
    if redact(text) == text:
        return diff
    out, in_key = [], False
    for line in text.split("\n"):
        begins = "-----BEGIN" in line and "PRIVATE KEY" in line
        in_key = in_key or begins
        ends = "-----END" in line
        out.append(f"{line[:1]}{MASK}" if in_key else redact(line))
        in_key = in_key and not ends
    return "\n".join(out).encode("utf-8", "surrogateescape")


def _summary(run: Run) -> str:
    parts = [f"outcome: {Outcome(run.outcome).label.lower()}" if run.outcome else "not graded"]
    for label, passed, failed in (
        ("tests to fix", run.fail_to_pass_passed, run.fail_to_pass_failed),
        ("tests to keep", run.pass_to_pass_passed, run.pass_to_pass_failed),
    ):
        if passed is not None and failed is not None:
            parts.append(f"{label}: {passed} of {passed + failed} passed")
    return "; ".join(parts)


def _steps(run: Run) -> list[tuple[int, str, str, str, str]]:
    if run.session is None:
        return []
    rows = run.session.shown_steps().filter(kind__in=SHOWN_STEPS).order_by("position")[:MOST_STEPS]
    return [
        (step.position, str(step.kind), _clean(step.name), _clean(step.preview), _clean(step.result_preview))
        for step in rows
    ]


def question_of(criterion: Criterion) -> prompts.Question:
    """Return a criterion of a rubric as the judge is asked it."""
    return prompts.Question(
        key=criterion.key,
        text=criterion.text,
        checks=[str(check) for check in criterion.checks],
        pitfall=criterion.kind == Criterion.Kind.PITFALL,
    )


def sections_for(material: Material, criterion: Criterion, config: JudgeConfig) -> list[Section]:
    """Return what the judge sees for this criterion."""
    mentions = " ".join([criterion.text, *(str(check) for check in criterion.checks)])
    return sections(material, criterion.sees, chars=config.parameter("evidence_chars"), mentions=mentions)


def hidden(material: Material, config: JudgeConfig) -> tuple[prompts.Question, list[Section]]:
    """Return the hidden question, asked about everything that the agent wrote, and what it is asked about."""
    chars = config.parameter("evidence_chars")
    question = prompts.Question(key=HIDDEN_KEY, text=prompts.HIDDEN_TEXT)
    return question, sections(material, ("diff", "final_message"), chars=chars)
