"""Builders for tests of the judge: a judge at a scripted endpoint, a run with a rubric, judged to its end."""

from __future__ import annotations

import os
from typing import Any

from oneshot import store
from runs.judging import actions, prompts
from runs.judging.execution import execute
from runs.judging.models import HIDDEN_KEY, JudgeConfig, Judgement
from runs.models import Run
from tasks.models import Criterion, Rubric, Task
from tests.builders import DIFF, make_run, make_task
from tests.servers.chat import Asked, Reply, Script, first_added, verdict

PRICES = {"input": 1, "cached_input": 0.5, "output": 10}
KEY_NAME = "SCRIPTED_JUDGE_KEY"
KEY = "sk-scripted-judge-0123456789abcdef0123456789"


def make_judge(url: str, name: str = "scripted", **fields: Any) -> JudgeConfig:
    """Return a judge at this endpoint that gives up soon; `parameters` come on top."""
    os.environ[KEY_NAME] = KEY
    parameters = {"retries": 2, "timeout_s": 5.0} | fields.pop("parameters", {})
    defaults: dict[str, Any] = {"model": "scripted-1", "key_env": KEY_NAME, "prices": PRICES}
    return actions.add_judge(name=name, base_url=url, parameters=parameters, **defaults | fields)


def add_rubric(task: Task, *criteria: dict[str, Any] | str) -> Rubric:
    """Return a new rubric; a criterion is its text, or its fields."""
    number = task.rubrics.count() + 1
    rubric = Rubric.objects.create(task=task, number=number, digest=f"{task.pk}-{number}")
    for position, given in enumerate(criteria or ("It adds.",)):
        fields = {"text": given} if isinstance(given, str) else given
        defaults: dict[str, Any] = {"key": f"c{position}", "text": "It adds.", "weight": "1"}
        Criterion.objects.create(rubric=rubric, position=position, **defaults | fields)
    return rubric


def make_judged_run(*criteria: dict[str, Any] | str, diff: bytes = DIFF, **fields: Any) -> tuple[Run, Rubric]:
    """Return a finished run with this diff, and the rubric of its task."""
    task = fields.pop("task", None) or make_task()
    rubric = add_rubric(task, *criteria)
    fields.setdefault("outcome", "resolved")
    run = make_run(task=task, diff_digest=store.put(diff) if diff else "", diff_bytes=len(diff), **fields)
    return run, rubric


def judge_now(run: Run, rubric: Rubric, judge: JudgeConfig) -> Judgement:
    """Judge in this process and return the row as it then is."""
    judgement = actions.judge_run(run, rubric, judge)
    execute(str(judgement.pk))
    judgement.refresh_from_db()
    return judgement


def saying(**answers: str) -> Script:
    """Return a script that answers each criterion as said, met with a true quotation; the hidden one not met."""

    def script(asked: Asked) -> Reply | dict[str, Any] | str:
        answer = answers.get(asked.key, "not_met" if asked.key == HIDDEN_KEY else "met")
        quotes = [first_added(asked)] if answer == "met" else []
        return verdict(asked, answer, *quotes)

    return script


__all__ = ["KEY", "KEY_NAME", "add_rubric", "judge_now", "make_judge", "make_judged_run", "prompts", "saying"]
