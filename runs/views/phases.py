"""The phases of a run as its page shows them: in proportion, with exact times and one remark each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from oneshot.templatetags.figures import clock, limit_time, size
from runs.models import PHASE_COLUMNS, Outcome, Run, Status

LABELS = {column.removesuffix("_at"): Status(column.removesuffix("_at")).label for column in PHASE_COLUMNS}
# The least part of the line, so that a phase of a moment can still be pointed at.
LEAST_SHARE = 0.0034
WORK = ("running", "grading")


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One phase. `seconds` is None before it begins; `since` is set while it goes on.

    `state` is done, now, todo, fail or cancelled; `x` and `width` are SVG percentages.
    """

    name: str
    label: str
    state: str
    seconds: float | None
    since: datetime | None
    remark: str | SafeString
    x: str = ""
    width: str = ""
    css: str = ""


def phases_of(run: Run) -> list[Phase]:
    """Return the phases of a run: those that were, the one that is, and while it goes on those to come."""
    now = timezone.now()
    begun = run.phases()
    seconds = [max(0.0, ((end or now) - start).total_seconds()) for _, start, end in begun]
    shares = _shares(seconds)
    rows, x = [], 0.0
    for index, ((name, start, end), spent, share) in enumerate(zip(begun, seconds, shares, strict=True)):
        state = _state(run, last=index == len(begun) - 1, ended=end is not None)
        row = Phase(
            name=name,
            label=LABELS[name],
            state=state,
            seconds=spent,
            since=start if state == "now" else None,
            remark=_remark(run, name, state),
            x=f"{x * 100:.2f}%",
            width=f"{share * 100:.2f}%",
            css={"now": "now", "fail": "fail"}.get(state, "work" if name in WORK else ""),
        )
        rows.append(row)
        x += share
    if not run.is_over:
        to_come = [column.removesuffix("_at") for column in PHASE_COLUMNS[len(begun) :]]
        rows += [
            Phase(name=name, label=LABELS[name], state="todo", seconds=None, since=None, remark="") for name in to_come
        ]
    return rows


def _shares(seconds: list[float]) -> list[float]:
    total = sum(seconds) or 1.0
    shares = [max(spent / total, LEAST_SHARE) for spent in seconds]
    return [share / sum(shares) for share in shares]


def _state(run: Run, *, last: bool, ended: bool) -> str:
    if not last:
        return "done"
    if run.status == Status.INFRA_FAILED:
        return "fail"
    if run.status == Status.CANCELLED:
        return "cancelled"
    return "done" if ended else "now"


def _remark(run: Run, name: str, state: str) -> Any:
    going = state == "now"
    if name == "queued":
        return _queued(run) if going else f"try {run.tries}" if run.tries > 1 else ""
    if name == "preparing":
        return _preparing(run, going=going)
    if name == "running":
        return _running(run, going=going)
    if name == "collecting":
        if run.diff_bytes is None:
            return ""
        return f"{size(run.diff_bytes)} diff" if run.diff_bytes else "nothing changed"
    return "apart from the agent, not isolated" if run.isolation == "none" else "second sandbox, no network"


def _queued(run: Run) -> Any:
    if run.retry_at and run.retry_at > timezone.now():
        return format_html("another try at {}", clock(run.retry_at))
    return "waits for a worker" if run.tries == 0 else f"waits for try {run.tries + 1}"


def _preparing(run: Run, *, going: bool) -> str:
    if going:
        return "image and sandbox"
    image = run.image
    if image is None or image.finished_at is None or run.preparing_at is None:
        return ""
    return "image built" if image.finished_at > run.preparing_at else "image cached"


def _running(run: Run, *, going: bool) -> str:
    limit = run.limits.get("timeout_s")
    if going:
        return f"of at most {limit_time(limit)}" if limit else ""
    if run.outcome == Outcome.TIMEOUT:
        return f"stopped after {limit_time(limit)}" if limit else "stopped at the limit"
    requests = run.detail.get("model_requests")
    if isinstance(requests, int) and requests:
        return f"{requests:,} model request{'' if requests == 1 else 's'}"
    return "" if run.exit_code is None else f"exit status {run.exit_code}"
