"""Makes runs by the thousand, so that pages can be measured without waiting for agents."""

import time
from argparse import ArgumentParser
from typing import Any

from benchmarks import generated
from oneshot.management.base import BadInput, OneShotCommand


class Command(OneShotCommand):
    help = "Make up ended runs in a team of their own, to measure pages at scale; --remove takes them away."
    example = "oneshot generate_runs --runs 100000 --tasks 200 --agents 20"
    prints_json = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--runs", type=int, default=10_000, help="how many runs (default 10000)")
        parser.add_argument("--tasks", type=int, default=100, help="how many tasks (default 100)")
        parser.add_argument("--agents", type=int, default=10, help="how many agents (default 10)")
        parser.add_argument("--seed", type=int, default=1, help="another number gives other data (default 1)")
        parser.add_argument("--remove", action="store_true", help="remove all generated data instead")

    def run(self, **options: Any) -> None:
        if options["remove"]:
            removed = generated.remove()
            return self._tell({"removed": removed}, f"{removed} generated runs removed.")
        sizes: dict[str, int] = {name: options[name] for name in ("runs", "tasks", "agents")}
        for name, value in sizes.items():
            if value < 1:
                raise BadInput(f"--{name} {value} is too few: the least is 1.")
        started = time.monotonic()
        try:
            team = generated.generate(**sizes, seed=options["seed"], on_progress=self._progress)
        except generated.AlreadyThere:
            raise BadInput("There is generated data already. Remove it with: oneshot generate_runs --remove") from None
        if self.on_terminal:
            self.say("")
        seconds = time.monotonic() - started
        words = "{runs} runs of {agents} agents at {tasks} tasks".format(**sizes)
        self._tell({**sizes, "team": team.slug, "seconds": seconds}, f"{words} in {seconds:.1f} s, team {team.name}.")

    def _tell(self, document: dict[str, Any], words: str) -> None:
        if self.as_json:
            self.emit(document)
        else:
            self.stdout.write(words)

    def _progress(self, made: int) -> None:
        if self.on_terminal:
            self.stderr.write(f"\r{made} runs", ending="")
