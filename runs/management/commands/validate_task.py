"""Validate a task: does something fail before the change, and does the reference make it pass, every time?"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings

from oneshot.management.base import BadInput, OneShotCommand
from runs import actions, sandboxes, summary
from runs.errors import Fault
from runs.management.commands.run_task import find_version
from runs.models import Run, Validation
from runs.validation import ATTEMPTS, await_conclusion, start_validation
from tasks.models import TaskVersion

VALID, INVALID, UNDECIDED = 0, 1, 3
SIGNS = {"ok": "ok  ", "warning": "warn", "failed": "FAIL"}
MOST_LISTED = 30


class Command(OneShotCommand):
    help = (
        "Try a task with nop and oracle, and fix from it which tests must pass. "
        "Exit status 0: valid; 1: not valid; 3: could not be decided; 2: bad input."
    )
    example = "oneshot validate_task fix-the-add-bug --attempts 3 --sandbox docker"
    prints_json = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("task", metavar="TASK", help="slug of a task, or SLUG@VERSION")
        parser.add_argument("--attempts", metavar="N", type=int, default=ATTEMPTS, help="runs of nop, and of oracle")
        parser.add_argument("--sandbox", metavar="S", default="", help=f"auto, {', '.join(sandboxes.names())}")
        parser.add_argument("--here", action="store_true", help="run in this process, also when workers are alive")

    def run(self, *, task: str, attempts: int, sandbox: str, here: bool, **options: Any) -> int:
        if attempts < 1:
            raise BadInput(f"--attempts {attempts}: the least is 1. Three show most flaky tests.")
        version = find_version(task)
        try:
            provider = sandboxes.choose(sandbox or settings.SANDBOX)
            validation = start_validation(version, sandbox=provider.name, attempts=attempts)
        except (Fault, LookupError, ValueError) as error:
            raise BadInput(str(error)) from error
        if provider.isolation() == "none":
            self.say("The local sandbox isolates nothing here: install bubblewrap or Docker for real isolation.")
        self.say(f"Validating {version}: nop and oracle, {validation.attempts} times each, in {validation.sandbox}.")
        runs = list(validation.runs.select_related("task", "agent").order_by("agent__kind", "attempt"))
        try:
            actions.drive(runs, here=True if here else None, on_change=self._tell)
        except KeyboardInterrupt:
            self.say("Cancelled; the task stays as it was.")
            return UNDECIDED
        await_conclusion(validation)
        version.refresh_from_db()
        return self._report(version, validation)

    def _tell(self, run: Run) -> None:
        self.say(summary.progress_line(run))

    def _report(self, version: TaskVersion, validation: Validation) -> int:
        undecided = validation.status != Validation.Status.DONE
        if self.as_json:
            self.emit(as_dict(version, validation))
        elif undecided:
            self.stdout.write(f"\nUndecided: {version} could not be validated.\n  {validation.error}")
        else:
            self.stdout.write("\n".join(_lines(version)))
        if undecided:
            return UNDECIDED
        return VALID if version.validation == TaskVersion.Validation.VALID else INVALID


def as_dict(version: TaskVersion, validation: Validation) -> dict[str, Any]:
    """Return the document of `--json`. `valid` is None when this validation could not decide it."""
    decided = validation.status == Validation.Status.DONE
    lists = version.expectations() if decided else {}
    return {
        "slug": version.task.slug,
        "version": version.number,
        "valid": version.validation == TaskVersion.Validation.VALID if decided else None,
        "reason": version.validation_reason if decided else validation.error,
        "fail_to_pass": lists.get("fail_to_pass", []),
        "pass_to_pass": lists.get("pass_to_pass", []),
        "excluded": lists.get("excluded", []),
        "checks": lists.get("checks", []),
        "sandbox": validation.sandbox,
        "attempts": validation.attempts,
    }


def _lines(version: TaskVersion) -> list[str]:
    lists = version.expectations()
    lines = ["", "Checks"]
    lines += [
        f"  {SIGNS.get(check['status'], '    ')} {check['name']}: {check['evidence']}" for check in lists["checks"]
    ]
    lines += _listed("Tests to fix", lists["fail_to_pass"])
    lines.append(f"Tests to keep: {len(lists['pass_to_pass'])}")
    lines += _listed("Left out", [f"{row['id']}: {row['reason']}" for row in lists["excluded"]])
    if version.validation == TaskVersion.Validation.VALID:
        return [*lines, "", f"Valid: {version}. Try it: oneshot run_task {version.task.slug} --agent oracle"]
    return [*lines, "", f"Not valid: {version}.", f"  {version.validation_reason}"]


def _listed(title: str, names: list[str]) -> list[str]:
    lines = [f"{title}: {len(names)}", *(f"  {name}" for name in names[:MOST_LISTED])]
    return lines if len(names) <= MOST_LISTED else [*lines, f"  and {len(names) - MOST_LISTED} more"]
