"""App of what was tried: agents, sandboxes, runs and their grading."""

from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "runs"

    def ready(self) -> None:
        from runs import judging
        from runs.events import when_run_ends
        from runs.session_links import RunLinks
        from runs.steadiness import watch_reference
        from runs.validation import run_ended
        from traces import links

        when_run_ends(run_ended)
        when_run_ends(watch_reference)
        when_run_ends(judging.run_ended)
        links.register("runs", RunLinks())
