"""Bring the demo in, or take it away."""

from argparse import ArgumentParser
from typing import Any

from oneshot import demo
from oneshot.management.base import OneShotCommand


class Command(OneShotCommand):
    help = "Add the sample tasks and runs to a OneShot that is up, or remove them with all that they left."
    example = "oneshot demo --remove"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--remove", action="store_true")

    def run(self, *, remove: bool, **options: Any) -> None:
        if remove:
            self.say(f"The demo is gone, with {demo.remove()} runs.")
            return
        for line in demo.start():
            if line:
                self.say(line)
