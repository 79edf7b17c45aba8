"""Give a task to an agent, and say in the terminal how it went."""

from __future__ import annotations

from argparse import Action, ArgumentParser
from typing import Any

from django.conf import settings

from oneshot.management.base import BadInput, OneShotCommand
from runs import actions, agents, budgets, queue, sandboxes, summary
from runs.errors import Fault
from runs.models import AgentConfig, Judgement, Run, Status
from runs.validation import await_conclusion, start_validation
from tasks.models import Task, TaskVersion

GRADED, UNGRADED = 0, 3


class Command(OneShotCommand):
    help = "Try a task with an agent. Exit status 0: every run was graded; 3: some were not; 2: bad input."
    example = (
        "oneshot run_task fix-the-add-bug --agent codex --model gpt-5.2-codex --attempts 3\n"
        "  oneshot run_task fix-the-add-bug --agent command --command 'sed -i s/a-b/a+b/ calc.py' --sandbox docker"
    )
    prints_json = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("task", metavar="TASK", help="slug of a task, or SLUG@VERSION")
        parser.add_argument("--agent", metavar="A", default="", help=f"one of {', '.join(agents.kinds())}")
        parser.add_argument("--agent-file", metavar="FILE.toml", help="a full configuration of an agent")
        parser.add_argument("--command", dest="command_line", metavar="CMD", help="what the agent `command` runs")
        parser.add_argument("--model", metavar="M", default="")
        parser.add_argument("--effort", metavar="E", default="", help="reasoning effort, for agents that have one")
        parser.add_argument("--base-url", metavar="URL", default="", help="of the model's API, ending in /v1")
        parser.add_argument("--key-env", metavar="NAME", default="", help="variable of this machine with the key")
        parser.add_argument("--sandbox", metavar="S", default="", help=f"auto, {', '.join(sandboxes.names())}")
        parser.add_argument("--network", choices=["none", "model-only", "full"], default="")
        parser.add_argument("--attempts", metavar="N", type=int, default=1)
        parser.add_argument(
            "--max-tokens", metavar="N", type=int, help="uncached input and output tokens; then the model is refused"
        )
        parser.add_argument("--max-cost", metavar="USD", help="US dollars of the model; needs a known price")
        parser.add_argument("--timeout", metavar="S", type=float, help="seconds that the agent may take")
        parser.add_argument("--test-timeout", metavar="S", type=float, help="seconds that the tests may take")
        parser.add_argument("--memory-mb", metavar="MB", type=int)
        parser.add_argument("--cpus", metavar="N", type=float)
        parser.add_argument("--wait", action=_Wait, nargs=0, help="wait for the end (this is the default)")
        parser.add_argument("--no-wait", dest="wait", action="store_false", help="queue the runs and return")
        parser.add_argument("--here", action="store_true", help="run in this process, also when workers are alive")
        parser.add_argument("--no-validate", action="store_true", help="also try a version that was never validated")
        parser.set_defaults(wait=True)

    def run(self, *, task: str, attempts: int, wait: bool, here: bool, no_validate: bool, **options: Any) -> int:
        if attempts < 1:
            raise BadInput(f"--attempts {attempts}: the least is 1.")
        limits = _limits(options)
        version = find_version(task)
        agent = self._agent(options)
        try:
            provider = sandboxes.choose(options["sandbox"] or settings.SANDBOX)
        except (Fault, LookupError, ValueError) as error:
            raise BadInput(str(error)) from error
        if provider.isolation() == "none":
            self.say("The local sandbox isolates nothing here: install bubblewrap or Docker for real isolation.")
        if not no_validate:
            self._make_sure_it_is_valid(version, provider.name)
        try:
            runs = [
                actions.create_run(
                    version=version, agent=agent, sandbox=provider.name, limits=limits, network=options["network"]
                )
                for _ in range(attempts)
            ]
        except Fault as error:
            raise BadInput(str(error)) from error
        if not wait:
            return self._queue(runs)
        return self._follow(runs, here=here)

    def _agent(self, options: dict[str, Any]) -> AgentConfig:
        try:
            if options["agent_file"]:
                return agents.from_file(options["agent_file"])
            if not options["agent"]:
                raise BadInput(f"Say which agent: --agent {'|'.join(agents.kinds())}, or --agent-file FILE.toml.")
            return agents.from_options(
                options["agent"],
                command=options["command_line"] or "",
                model=options["model"],
                effort=options["effort"],
                base_url=options["base_url"],
                key_env=options["key_env"],
            )
        except (Fault, LookupError, ValueError, OSError) as error:
            raise BadInput(str(error)) from error

    def _make_sure_it_is_valid(self, version: TaskVersion, sandbox: str) -> None:
        """Validate a version that never was; without it nobody knows which tests must pass."""
        if version.validation != TaskVersion.Validation.VALID:
            if version.validation != TaskVersion.Validation.INVALID:
                self.say(f"{version} was never validated; validating it first (nop and oracle, 3 times each).")
                try:
                    validation = start_validation(version, sandbox=sandbox)
                except Fault as error:
                    raise BadInput(str(error)) from error
                actions.drive(list(validation.runs.all()), on_change=self._tell)
                await_conclusion(validation)
                version.refresh_from_db()
                if validation.error:
                    raise BadInput(f"{version} could not be validated: {validation.error}")
            if version.validation != TaskVersion.Validation.VALID:
                if self.as_json:
                    self.emit(
                        {
                            "runs": [],
                            "refused": {
                                "slug": version.task.slug,
                                "version": version.number,
                                "reason": version.validation_reason,
                            },
                        }
                    )
                raise BadInput(
                    f"{version} is not valid: {version.validation_reason} "
                    "Mend the task, or use --no-validate to try it all the same."
                )

    def _queue(self, runs: list[Run]) -> int:
        actions.submit(runs)
        if not queue.workers():
            self.say("No worker is alive: the runs wait until `oneshot up` or `oneshot worker` starts.")
        self._print(runs)
        return GRADED

    def _follow(self, runs: list[Run], *, here: bool) -> int:
        try:
            ended = actions.drive(runs, here=True if here else None, on_change=self._tell)
        except KeyboardInterrupt:
            self.say("Cancelled.")
            ended = list(Run.objects.filter(pk__in=[run.pk for run in runs]).order_by("attempt"))
            self._print(ended)
            return UNGRADED
        self._await_judges(ended, here=here)
        self._print(ended)
        return GRADED if all(run.status == Status.FINISHED for run in ended) else UNGRADED

    def _await_judges(self, runs: list[Run], *, here: bool) -> None:
        """Wait for what the default judges say of these runs. Ctrl-C ends the waiting, not the judging."""
        # Imported when runs have ended: every start of the command would pay for it.
        from runs.judging import actions as judging

        for run in runs:
            # Whoever executed the run may be about to have it judged.
            if not run.judgements.exists():
                judging.run_ended(run)
        open_ = (Judgement.Status.QUEUED, Judgement.Status.RUNNING)
        rows = list(Judgement.objects.filter(run__in=runs, status__in=open_))
        if not rows:
            return
        self.say(f"Waiting for {len(rows)} judgement{'s' if len(rows) > 1 else ''} by rubric.")
        try:
            judging.finish(rows, here=True if here else None, on_change=self._tell_judged)
        except KeyboardInterrupt:
            self.say(
                "Stopped waiting for the judge. What it has answered is kept; `oneshot rescore` goes on from there."
            )

    def _tell_judged(self, row: Judgement) -> None:
        if row.is_over or row.error:
            self.say(summary.judged_line(row))

    def _tell(self, run: Run) -> None:
        self.say(summary.progress_line(run))

    def _print(self, runs: list[Run]) -> None:
        rows = list(
            Run.objects.filter(pk__in=[run.pk for run in runs])
            .select_related("task", "task_version", "agent")
            .order_by("attempt")
        )
        if self.as_json:
            self.emit({"runs": [summary.as_dict(run) for run in rows]})
        else:
            self.stdout.write(summary.as_text(rows))


class _Wait(Action):
    """Accepts --wait, which is what happens anyway."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        namespace.wait = True


def _limits(options: dict[str, Any]) -> dict[str, Any]:
    """Return the limits that options ask for. Raises BadInput, naming the option."""
    for option in ("timeout", "test_timeout", "memory_mb", "cpus"):
        if options[option] is not None and not options[option] > 0:
            raise BadInput(f"--{option.replace('_', '-')} {options[option]}: give a number above 0.")
    limits = {
        "timeout_s": options["timeout"],
        "test_timeout_s": options["test_timeout"],
        "memory_mb": options["memory_mb"],
        "cpus": options["cpus"],
    }
    try:
        return limits | budgets.read({"max_tokens": options["max_tokens"], "max_cost_usd": options["max_cost"]})
    except ValueError as error:
        words = str(error).replace("max_tokens", "--max-tokens").replace("max_cost_usd", "--max-cost")
        raise BadInput(words) from error


def find_version(name: str) -> TaskVersion:
    """Return the version that SLUG or SLUG@NUMBER names. Raises BadInput with the nearest slugs."""
    slug, _, number = name.partition("@")
    task = Task.objects.filter(slug=slug).select_related("current_version").first()
    if task is None:
        from difflib import get_close_matches

        known = list(Task.objects.values_list("slug", flat=True)[:1000])
        near = get_close_matches(slug, known, n=3)
        hint = f" Did you mean {', '.join(near)}?" if near else " `oneshot import_tasks PATH` brings tasks in."
        raise BadInput(f"There is no task {slug!r}.{hint}")
    if not number:
        if task.current_version is None:
            raise BadInput(f"{slug} has no version yet.")
        return task.current_version
    version = task.versions.filter(number=number).first() if number.isdecimal() else None
    if version is None:
        raise BadInput(f"{slug} has no version {number!r}; its versions are 1 to {task.versions.count()}.")
    return version
