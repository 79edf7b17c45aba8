"""Suggestions of criteria by a judge's model: asked for by a person, answered by a worker, taken by a person or not.

The row is the truth and the judge's queue carries its id, as with judgements: the key lives where workers do, and no
page waits for a model.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from decimal import Decimal
from typing import Any

import django_rq
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone
from redis.exceptions import RedisError

from oneshot import store
from runs import hosts
from runs.judging import line, pricing, proposing, spending
from runs.judging.actions import CannotJudge, current
from runs.judging.answers import MOST_BYTES, Malformed
from runs.judging.client import Client, Misconfigured, Outage, Refused, Usage
from runs.judging.material import clean_diff
from runs.judging.models import JudgeConfig, Suggestion, usd
from tasks.curation.editing import look_at
from tasks.models import Task
from traces.redaction import redact

logger = logging.getLogger(__name__)

Status = Suggestion.Status
OPEN = (Status.QUEUED, Status.RUNNING)
# Of a worker on another machine nobody can tell whether it lives: after this long it has given up.
LONGEST_S = 1800.0


def judge_for_suggestions() -> JudgeConfig | None:
    """Return whose model is asked: the first default judge by name, else the first enabled one; None without any."""
    return JudgeConfig.objects.filter(enabled=True).order_by("-is_default", "name").first()


def ask_for(task: Task, *, by: Any = None) -> Suggestion:
    """Have suggestions made for the draft of a task, and return their row; the open one when there is one already.

    Raises CannotJudge when there is no judge.
    """
    judge = judge_for_suggestions()
    if judge is None:
        raise CannotJudge("There is no judge whose model could be asked. `oneshot add_judge` makes one.")
    try:
        with transaction.atomic():
            row = Suggestion.objects.create(task=task, judge=current(judge), by=by)
    except IntegrityError:
        open_ = Suggestion.objects.filter(task=task, status__in=OPEN).first()
        if open_ is None:
            raise
        return open_
    transaction.on_commit(lambda: enqueue(row))
    return row


def job_id(row: Suggestion) -> str:
    return f"suggest-{row.pk}-{row.tries}"


def enqueue(row: Suggestion) -> bool:
    """Put the id into the judge's queue, before all judgements: a person waits. False when Redis does not answer."""
    try:
        django_rq.get_queue(line.JUDGE).enqueue(
            "runs.judging.jobs.suggest_job",
            str(row.pk),
            job_id=job_id(row),
            at_front=True,
            result_ttl=0,
            failure_ttl=3600,
        )
    except RedisError as error:
        logger.warning("Redis does not answer, suggestion %s waits: %s", row.pk, error)
        return False
    Suggestion.objects.filter(pk=row.pk).update(enqueued_at=timezone.now())
    return True


def execute(suggestion_id: str) -> None:
    """Ask the model, if the row is still queued, and record what it suggested or why there is nothing."""
    claimed = Suggestion.objects.filter(pk=suggestion_id, status=Status.QUEUED).update(
        status=Status.RUNNING, tries=F("tries") + 1, worker=hosts.this_process(), started_at=timezone.now()
    )
    if not claimed:
        return
    asking = _Asking(Suggestion.objects.select_related("task", "judge").get(pk=suggestion_id))
    try:
        asking.end(items=asking.ask())
    except (Outage, Misconfigured, Refused, spending.OverBudget) as error:
        asking.end(error=str(error))
    except Malformed as error:
        asking.end(error=f"The model's answer could not be used, twice: {error}.")
    except store.ContentMissing as error:
        asking.end(error=str(error))
    except Exception as error:
        logger.exception("Suggestion %s met an error of OneShot itself", suggestion_id)
        asking.end(error=f"OneShot itself failed: {type(error).__name__}: {redact(str(error))[:300]}")


class _Asking:
    """The work on one claimed row. What was asked is counted as it comes, also when nothing comes of it."""

    def __init__(self, row: Suggestion) -> None:
        self.row = row
        self.held = Suggestion.objects.filter(pk=row.pk, tries=row.tries, status=Status.RUNNING)
        # An earlier worker may have asked before it was lost.
        self.usage = Usage(input=row.tokens_input or 0, cached=row.tokens_cached or 0, output=row.tokens_output or 0)

    def ask(self) -> list[dict[str, Any]]:
        conversation = _conversation(self.row.task)
        self._check_budget(conversation)
        schema = {"name": "criteria", "strict": True, "schema": proposing.SCHEMA}
        client = Client(config=self.row.judge, schema=schema)
        try:
            first = self._say(client, conversation)
            try:
                return proposing.read(first)
            except Malformed as problem:
                conversation += [
                    {"role": "assistant", "content": first[:MOST_BYTES] or "(nothing)"},
                    {"role": "user", "content": proposing.REPAIR.replace("{problem}", f"{problem}.")},
                ]
            self._check_budget(conversation)
            return proposing.read(self._say(client, conversation))
        finally:
            client.close()

    def _say(self, client: Client, conversation: list[dict[str, str]]) -> str:
        try:
            said = client.ask(conversation)
        except Refused as refusal:
            self._count(refusal.usage)
            raise
        self._count(said.usage)
        return said.text

    def _count(self, usage: Usage) -> None:
        self.usage += usage
        self.held.update(
            tokens_input=self.usage.input,
            tokens_cached=self.usage.cached,
            tokens_output=self.usage.output,
            cost_usd=self._cost(),
        )

    def _cost(self) -> Decimal | None:
        return usd(pricing.cost(self.row.judge, self.usage))

    def _check_budget(self, conversation: list[dict[str, str]]) -> None:
        judge, spent = self.row.judge, self._cost()
        planned = pricing.estimate_of(judge, conversation, answer_tokens=pricing.SUGGESTION_TOKENS)
        spending.check(judge, planned=planned or Decimal(0), spent=spent or Decimal(0), what="these suggestions")

    def end(self, *, items: list[dict[str, Any]] | None = None, error: str = "") -> None:
        """Record the end, unless the row was given up meanwhile."""
        self.held.update(
            status=Status.FAILED if error else Status.DONE,
            error=redact(error),
            items=items or [],
            worker="",
            finished_at=timezone.now(),
        )


def _conversation(task: Task) -> list[dict[str, str]]:
    """Return what the model is asked about the task's draft as it stands, without secrets."""
    content = look_at(task).content
    digest = content["reference_diff"]
    return proposing.messages(
        instructions=redact(content["instructions"]),
        reference=clean_diff(store.get(digest)) if digest else b"",
        criteria=[{**criterion, "text": redact(criterion["text"])} for criterion in content["criteria"]],
    )


def repair() -> int:
    """Queue again what a dead worker or Redis has lost, and end what was lost too often; return how many."""
    now = timezone.now()
    count = 0
    for row in Suggestion.objects.filter(status=Status.RUNNING):
        silent = row.started_at is None or row.started_at < now - timedelta(seconds=LONGEST_S)
        if not silent and not hosts.is_surely_dead(row.worker):
            continue
        held = Suggestion.objects.filter(pk=row.pk, tries=row.tries, status=Status.RUNNING)
        if row.tries < settings.MAX_TRIES:
            count += held.update(status=Status.QUEUED, worker="", enqueued_at=None)
        else:
            lost = f"Its worker was lost {row.tries} times. Look for a lack of memory on the workers."
            count += held.update(status=Status.FAILED, error=lost, worker="", finished_at=now)
    settled = Q(enqueued_at__isnull=True) | Q(enqueued_at__lt=now - timedelta(seconds=line.IN_FLIGHT_S))
    waiting_rows = list(Suggestion.objects.filter(settled, status=Status.QUEUED))
    if not waiting_rows:
        return count
    try:
        waiting = set(django_rq.get_queue(line.JUDGE).get_job_ids())
    except RedisError:
        return count
    return count + sum(job_id(row) not in waiting and enqueue(row) for row in waiting_rows)
