"""Everything that decided how a run went, as one document: for reading on its page, and as JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone

import oneshot
from runs.models import AgentConfig, Run
from traces.redaction import redact

LONGEST_VALUE = 2_000
# Of what else has no value there is nothing to say.
MEASURED = ("tokens_input", "tokens_cached", "tokens_output", "cost_usd")
TITLES = {"oneshot": "OneShot", "detail": "Small facts"}


def manifest(run: Run, *, answers: bool, inside: bool) -> dict[str, Any]:
    """Return the manifest of a run, with None for what is unknown.

    Without `answers` it leaves out the agent's settings and remarks of the grading; without `inside`, which is for
    members of the team, also what concerns this installation only: its hosts and paths.
    """
    version, agent, image = run.task_version, run.agent, run.image
    document: dict[str, Any] = {
        "run": {
            "id": str(run.pk),
            "url": f"{settings.SITE_URL}{run.get_absolute_url()}",
            "purpose": run.purpose,
            "attempt": run.attempt,
            "status": str(run.status),
            "outcome": run.outcome or None,
            "fault": run.fault or None,
        },
        "task": {
            "slug": run.task.slug,
            "version": version.number,
            "digest": version.digest,
            "base_commit": version.snapshot_commit or None,
            "snapshot": version.snapshot_digest or None,
        },
        "agent": {
            "kind": agent.kind,
            "name": agent.name,
            "version": agent.version or None,
            "model": agent.model or None,
            "digest": agent.digest,
        },
        "sandbox": {"kind": run.sandbox, "isolation": run.isolation or None, "network": run.network}
        | ({"image_digest": image.digest} if image else {}),
        "limits": run.limits,
        "times": {
            name: None if moment is None else _utc(moment)
            for name, moment in (
                ("created", run.created_at),
                *((phase, start) for phase, start, _ in run.phases()),
                ("finished", run.finished_at),
            )
        },
        "result": {
            "diff_sha256": run.diff_digest or None,
            "diff_bytes": run.diff_bytes,
            "exit_code": run.exit_code,
            "tokens_input": run.tokens_input,
            "tokens_cached": run.tokens_cached,
            "tokens_output": run.tokens_output,
            "cost_usd": None if run.cost_usd is None else str(run.cost_usd),
        },
        "oneshot": {"version": oneshot.__version__},
    }
    if answers:
        document["agent"]["settings"] = agent.settings
        small = {name: value for name, value in run.detail.items() if name != "final_message"}
        document["detail"] = small
    if inside:
        document["sandbox"]["image"] = image.reference if image else None
        document["execution"] = {"tries": run.tries, "worker": run.worker or None}
    return document


def as_json(run: Run, *, answers: bool, inside: bool) -> str:
    """Return the manifest as JSON, without any secret that a setting might hold."""
    return (
        redact(json.dumps(manifest(run, answers=answers, inside=inside), indent=2, ensure_ascii=False, default=str))
        + "\n"
    )


def rows(run: Run, *, answers: bool, inside: bool) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """Return the manifest as parts with (name, value) lines; None is a measure that is not known."""
    document = manifest(run, answers=answers, inside=inside)
    parts = [
        (TITLES.get(part, part.capitalize()), list(_lines(values, over=run.is_over)))
        for part, values in document.items()
    ]
    return [part for part in parts if part[1]]


def _lines(values: dict[str, Any], prefix: str = "", *, over: bool) -> Iterator[tuple[str, str | None]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _lines(value, f"{prefix}{name}.", over=over)
        elif value is None:
            if name in MEASURED and over:
                yield f"{prefix}{name}", None
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            text = redact(text)
            yield f"{prefix}{name}", text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]} …"


def _utc(moment: datetime) -> str:
    return moment.astimezone(timezone.get_default_timezone()).isoformat(timespec="milliseconds")


def command(run: Run) -> str:
    """Return the command that makes such a run again, or "" when options cannot say all its settings."""
    options = _agent_options(run.agent)
    if options is None:
        return ""
    words = ["oneshot", "run_task", f"{run.task.slug}@{run.task_version.number}", *options, "--sandbox", run.sandbox]
    return shlex.join(words)


def _agent_options(agent: AgentConfig) -> list[str] | None:
    known = {"command": "--command", "reasoning_effort": "--effort"}
    if set(agent.settings) - set(known) or not all(isinstance(value, str) for value in agent.settings.values()):
        return None
    if agent.name != agent.kind:
        return None
    options = ["--agent", agent.kind]
    options += ["--model", agent.model] if agent.model else []
    for name, value in agent.settings.items():
        options += [known[name], value]
    return options
