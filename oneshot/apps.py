"""App of the project package: commands, pages that belong to no single app, shared template tags."""

from django.apps import AppConfig


class OneShotConfig(AppConfig):
    name = "oneshot"
    label = "oneshot"
