"""App of what it shows: leaderboards and their statistics."""

from django.apps import AppConfig


class BenchmarksConfig(AppConfig):
    name = "benchmarks"

    def ready(self) -> None:
        from benchmarks.rollup import run_ended
        from runs.events import when_run_ends

        when_run_ends(run_ended)
