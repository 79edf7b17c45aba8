"""`oneshot claude`, for those who come to it through Django; `oneshot/cli.py` goes past it."""

from typing import Any

from oneshot.management.base import OneShotCommand
from tasks.wrappers import launch


class Command(OneShotCommand):
    help = "Start Claude Code as you know it, recorded and with the task tools; every argument goes to it."
    example = "oneshot claude"
    requires_database = False

    def run_from_argv(self, argv: list[str]) -> None:
        raise SystemExit(launch.main("claude", argv[2:]))

    def run(self, **options: Any) -> int | None:
        return launch.main("claude", [])
