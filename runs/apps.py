"""App of what was tried: agents, sandboxes, runs and their grading."""

from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "runs"
