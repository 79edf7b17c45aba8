"""One judgement, from claim to end. Executed at least once, recorded exactly once, and taken up where it stopped.

The main thread alone touches the database; other threads only wait for the model. Each verdict is written as it comes,
so a killed worker loses no more than the questions that were on their way.
"""

from __future__ import annotations

import hashlib
import logging
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import F, Sum
from django.utils import timezone

from oneshot import store
from runs import hosts
from runs.errors import LostClaim
from runs.judging import material, pricing, prompts, scores, spending, suspicion
from runs.judging.asking import Asked, ask
from runs.judging.client import Client, Misconfigured, Outage, Usage
from runs.judging.evidence import Section
from runs.judging.models import JudgeConfig, Judgement, Verdict, usd
from runs.judging.scoring import is_settled
from runs.judging.spending import OverBudget
from tasks.models import Criterion
from traces.redaction import redact

logger = logging.getLogger(__name__)

Status = Judgement.Status
MOST_OMISSIONS = 200


def claim(judgement_id: str) -> Judgement | None:
    """Take a queued judgement for this process; None when it is not queued (any more)."""
    now = timezone.now()
    took = Judgement.objects.filter(pk=judgement_id, status=Status.QUEUED).update(
        status=Status.RUNNING,
        tries=F("tries") + 1,
        worker=hosts.this_process(),
        heartbeat_at=now,
        started_at=now,
        retry_at=None,
        error="",
    )
    if not took:
        return None
    rows = Judgement.objects.select_related("run__task_version", "run__task", "run__session", "rubric", "judge")
    return rows.get(pk=judgement_id)


def execute(judgement_id: str) -> None:
    """Judge, if the row is still queued. Returns when it has ended, waits for another try, or was never ours."""
    judgement = claim(judgement_id)
    if judgement is None:
        return
    with Beat(judgement) as beat:
        try:
            _Judging(judgement, beat).go()
        except LostClaim:
            logger.info("Judgement %s was taken over; this worker writes nothing more", judgement_id)
        except Outage as outage:
            end(judgement, str(outage), retry=True)
        except OverBudget as over:
            end(judgement, str(over))
        except (Misconfigured, material.MaterialMissing) as error:
            end(judgement, str(error), failed=True)
        except Exception as error:
            logger.exception("Judgement %s met an error of OneShot itself", judgement_id)
            end(judgement, f"OneShot itself failed: {type(error).__name__}: {redact(str(error))[:300]}", retry=True)


class Beat:
    """Says every few seconds that the judgement is worked on, and notices when another worker has taken it."""

    def __init__(self, judgement: Judgement) -> None:
        self._held = Judgement.objects.filter(pk=judgement.pk, tries=judgement.tries, status=Status.RUNNING)
        self._stop = threading.Event()
        self._lost = False
        self._beaten_at = time.monotonic()
        self._thread = threading.Thread(target=self._keep, name=f"judge-{judgement.pk}", daemon=True)

    def __enter__(self) -> Beat:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def alive(self) -> None:
        """Raise LostClaim when the work must stop. Callable from any thread."""
        if self._lost or self._stop.is_set():
            raise LostClaim("The judgement is in other hands.")

    def _keep(self) -> None:
        try:
            while not self._stop.wait(settings.HEARTBEAT_S):
                try:
                    if not self._held.update(heartbeat_at=timezone.now()):
                        self._lost = True
                        return
                    self._beaten_at = time.monotonic()
                except DatabaseError as error:
                    logger.warning("The database does not answer: %s", error)
                    connection.close()
                    if time.monotonic() - self._beaten_at > settings.LEASE_S * 0.8:
                        self._lost = True
                        return
        finally:
            connection.close()


@dataclass
class Item:
    """One question of a judgement and the answers that it has so far. `criterion` None is the hidden one."""

    criterion: Criterion | None
    question: prompts.Question
    sections: Sequence[Section]
    samples: int
    answers: list[str] = field(default_factory=list)
    digest: str = ""
    _estimate: Decimal | None = None

    def __post_init__(self) -> None:
        self.digest = self.digest or prompts.digest(self.question, self.sections)

    @property
    def settled(self) -> bool:
        return is_settled(self.answers, self.samples)

    def estimate(self, config: JudgeConfig) -> Decimal | None:
        """Return what asking once will cost, about; None when no price is known."""
        if self._estimate is None:
            self._estimate = pricing.estimate(config, [(self.question, self.sections, 1)])[1]
        return self._estimate


def items_of(judgement: Judgement) -> list[Item]:
    """Return the questions of a judgement with the answers that are recorded. Raises material.MaterialMissing."""
    config, known = judgement.judge, material.gather(judgement.run)
    samples = max(1, int(config.parameter("samples")))
    items = []
    for criterion in judgement.rubric.criteria.order_by("position"):
        found = material.sections_for(known, criterion, config)
        items.append(Item(criterion, material.question_of(criterion), found, samples))
    question, found = material.hidden(known, config)
    items.append(Item(None, question, found, 1))
    recorded: dict[str, list[str]] = {}
    if not judgement._state.adding:
        for key, answer in judgement.verdicts.order_by("sample").values_list("key", "answer"):
            recorded.setdefault(key, []).append(answer)
    for item in items:
        item.answers = recorded.get(item.question.key, [])
    return items


class _Judging:
    """The work on one claimed judgement."""

    def __init__(self, judgement: Judgement, beat: Beat) -> None:
        self.judgement = judgement
        self.config = judgement.judge
        self.beat = beat
        self.held = Judgement.objects.filter(pk=judgement.pk, tries=judgement.tries, status=Status.RUNNING)

    def go(self) -> None:
        if self.config.prompt_version != prompts.version():
            raise Misconfigured(
                f"The judge {self.config.name} was made for other prompts ({self.config.prompt_version}) than this "
                "version of OneShot has. Judge again: a judge with the present prompts is made then."
            )
        items = items_of(self.judgement)
        self._note_material(items)
        if not all(item.settled for item in items):
            # The lock on the key and the library waits until it is known that something must be asked.
            self._check_budget([])
            client = Client(config=self.config, alive=self.beat.alive)
            try:
                self._ask_all(client, items)
            finally:
                client.close()
        end(self.judgement, "")

    def _note_material(self, items: Sequence[Item]) -> None:
        omitted: dict[tuple[str, str], dict[str, Any]] = {}
        for item in items:
            for section in item.sections:
                for omission in section.omitted:
                    omitted.setdefault((omission.section, omission.what), omission.as_dict())
        found = suspicion.find(items[-1].sections)
        self._update(omitted=list(omitted.values())[:MOST_OMISSIONS], omitted_count=len(omitted), suspicions=found)

    def _update(self, **fields: Any) -> None:
        if not self.held.update(heartbeat_at=timezone.now(), **fields):
            raise LostClaim(f"Judgement {self.judgement.pk} is in other hands.")
        for name, value in fields.items():
            setattr(self.judgement, name, value)

    def _ask_all(self, client: Client, items: Sequence[Item]) -> None:
        """Ask until every question is settled; what goes wrong is raised once all that was on its way has come back."""
        going: dict[Future[Asked], tuple[Item, int]] = {}
        trouble: Exception | None = None
        # One question may fail where others do not; two failures without an answer between are the service's.
        given_up: set[int] = set()
        stop = failed_last = False
        most = max(1, int(self.config.parameter("parallel")))
        with ThreadPoolExecutor(max_workers=most) as pool:
            while True:
                busy = {id(item) for item, _ in going.values()}
                # First every criterion once, then again: what ends early has then answered as many as it could.
                for item in sorted(items, key=lambda item: len(item.answers)):
                    if not stop and id(item) not in busy | given_up and len(going) < most:
                        over = self._next(client, item, pool, going)
                        trouble, stop = trouble or over, over is not None
                if not going:
                    break
                done, _ = wait(going, return_when=FIRST_COMPLETED)
                for future in done:
                    item, sample = going.pop(future)
                    try:
                        self._record(item, sample, future.result())
                        failed_last = False
                    except LostClaim:
                        raise
                    except Exception as error:  # noqa: BLE001 - raised below, once nothing is on its way
                        trouble = trouble or error
                        given_up.add(id(item))
                        stop = stop or failed_last or not isinstance(error, Outage)
                        failed_last = True
        if trouble is not None:
            raise trouble

    def _next(
        self, client: Client, item: Item, pool: ThreadPoolExecutor, going: dict[Future[Asked], tuple[Item, int]]
    ) -> Exception | None:
        """Take answers from earlier equal questions, and send off the next one that is not known."""
        while not item.settled:
            sample = len(item.answers)
            if self._from_cache(item, sample):
                continue
            try:
                self._check_budget([*(going_item for going_item, _ in going.values()), item])
            except OverBudget as over:
                return over
            going[pool.submit(ask, client, item.question, item.sections)] = (item, sample)
            return None
        return None

    def _cache_key(self, item: Item, sample: int) -> str:
        return hashlib.sha256(f"{self.config.digest}:{item.digest}:{sample}".encode()).hexdigest()

    def _from_cache(self, item: Item, sample: int) -> bool:
        equal = Verdict.objects.filter(cache_key=self._cache_key(item, sample), problem="").exclude(
            judgement=self.judgement
        )
        found = equal.order_by("pk").first()
        if found is None:
            return False
        copied = ("answer", "stated", "evidence_checked", "evidence_reason", "evidence", "rationale", "reply_digest")
        self._write(
            item,
            sample,
            cached=True,
            tokens_input=0,
            tokens_cached=0,
            tokens_output=0,
            cost_usd=Decimal(0),
            **{name: getattr(found, name) for name in copied},
        )
        return True

    def _record(self, item: Item, sample: int, asked: Asked) -> None:
        self._write(
            item,
            sample,
            answer=asked.answer,
            stated=asked.stated,
            problem=asked.problem,
            evidence_checked=asked.evidence_checked,
            evidence_reason=redact(asked.evidence_reason)[:500],
            evidence=[quote | {"quote": redact(quote["quote"])} for quote in asked.evidence],
            rationale=redact(asked.rationale),
            reply_digest=store.put_text(redact(asked.raw)),
            tokens_input=asked.usage.input,
            tokens_cached=asked.usage.cached,
            tokens_output=asked.usage.output,
            cost_usd=usd(pricing.cost(self.config, asked.usage)),
            seconds=asked.seconds,
            requests=asked.requests,
        )

    def _write(self, item: Item, sample: int, **fields: Any) -> None:
        verdict = Verdict(
            judgement=self.judgement,
            criterion=item.criterion,
            key=item.question.key,
            sample=sample,
            prompt_digest=item.digest,
            cache_key=self._cache_key(item, sample),
            **fields,
        )
        with transaction.atomic():
            self._update()
            verdict.save(force_insert=True)
        item.answers.append(verdict.answer)

    def _check_budget(self, asking: Sequence[Item]) -> None:
        """Raise OverBudget when these questions, by estimate, would pass what may be spent; see spending.check."""
        planned = sum((item.estimate(self.config) or Decimal(0) for item in asking), Decimal(0))
        spent = self.judgement.verdicts.aggregate(spent=Sum("cost_usd"))["spent"] or Decimal(0)
        spending.check(self.config, planned=planned, spent=spent, what="this run")


def end(judgement: Judgement, problem: str, *, retry: bool = False, failed: bool = False) -> None:
    """Record how a judgement ended, with its score, or have it tried again later. Writes nothing for a lost claim."""
    held = Judgement.objects.filter(pk=judgement.pk, tries=judgement.tries, status=Status.RUNNING)
    failures = judgement.failures + 1
    now = timezone.now()
    if problem and retry and failures < settings.MAX_TRIES:
        wait_s = settings.RETRY_BASE_S * 2 ** (failures - 1) * random.uniform(0.5, 1.5)  # noqa: S311 - jitter
        held.update(
            status=Status.QUEUED,
            failures=failures,
            error=problem,
            worker="",
            heartbeat_at=None,
            enqueued_at=None,
            queued_at=now,
            retry_at=now + timedelta(seconds=wait_s),
        )
        return
    with transaction.atomic():
        fields, answered = scores.outcome_of(judgement)
        if not problem:
            status = Status.DONE
        elif failed:
            status = Status.FAILED
        else:
            status = Status.PARTIAL if answered else Status.UNKNOWN
        if problem and fields["score"] is None:
            fields["score_note"] = problem[:300]
        if not held.update(
            status=status,
            error=problem,
            failures=failures if problem else judgement.failures,
            worker="",
            heartbeat_at=None,
            finished_at=now,
            seconds=_seconds(judgement, now),
            **fields,
        ):
            return
        scores.settle(judgement.run_id)
    judgement.refresh_from_db()


def _seconds(judgement: Judgement, now: Any) -> float | None:
    return (now - judgement.started_at).total_seconds() if judgement.started_at else None


__all__ = ["Beat", "Item", "Usage", "claim", "end", "execute", "items_of"]
