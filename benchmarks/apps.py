"""App of what it shows: leaderboards and their statistics."""

from django.apps import AppConfig


class BenchmarksConfig(AppConfig):
    name = "benchmarks"

    def ready(self) -> None:
        from benchmarks.rollup import catch_up_now_and_then, run_ended, run_judged
        from runs.events import when_judged, when_run_ends, when_swept

        when_run_ends(run_ended)
        when_judged(run_judged)
        when_swept(catch_up_now_and_then)
