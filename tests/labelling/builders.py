"""Builders for tests of labelling: judged runs and labels as rows, without a model."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from oneshot import store
from runs.judging import scores
from runs.judging.models import JudgeConfig, Judgement, Label, Verdict
from runs.models import Run
from tasks.models import Rubric, Task
from tests.builders import DIFF, make_run
from tests.judging.builders import add_rubric


def add_judge(name: str = "mini", **fields: Any) -> JudgeConfig:
    """Return a judge that asks each question once."""
    return JudgeConfig.objects.create(**{"name": name, "model": "m-1", "parameters": {"samples": 1}} | fields)


def judged(
    task: Task, judge: JudgeConfig, answers: str, *, rubric: Rubric | None = None, run: Run | None = None, **fields: Any
) -> Run:
    """Return a run whose criteria the judge answered: a letter for each ("mnc"), or a word of letters per sample."""
    names = {"m": "met", "n": "not_met", "c": "cannot_assess"}
    said = answers.split() if " " in answers else list(answers)
    rubric = (
        rubric
        or task.rubrics.order_by("-number").first()
        or add_rubric(task, *[f"It does {n}." for n in range(len(said))])
    )
    run = run or make_run(task=task, outcome="resolved", diff_digest=store.put(DIFF), diff_bytes=len(DIFF), **fields)
    judgement = Judgement.objects.create(
        run=run, rubric=rubric, judge=judge, status="done", finished_at=timezone.now(), score=0.5, coverage=1.0
    )
    for criterion, letters in zip(rubric.criteria.order_by("position"), said, strict=True):
        for sample, letter in enumerate(letters):
            Verdict.objects.create(
                judgement=judgement,
                criterion=criterion,
                key=criterion.key,
                sample=sample,
                answer=names[letter],
                rationale="The judge's own secret words.",
                prompt_digest="p",
                cache_key="c",
            )
    scores.settle(run.pk)
    return run


def label(user: Any, run: Run, answers: str, **fields: Any) -> list[Label]:
    """Give a person's answers to the criteria of a run, a letter for each; "-" leaves one out."""
    names = {"m": "met", "n": "not_met", "c": "cannot_assess"}
    criteria = run.task.rubrics.order_by("-number")[0].criteria.order_by("position")
    return [
        Label.objects.create(user=user, run=run, criterion=criterion, answer=names[letter], **fields)
        for criterion, letter in zip(criteria, answers, strict=True)
        if letter != "-"
    ]
