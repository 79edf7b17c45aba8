"""App of what it shows: leaderboards and their statistics."""

from django.apps import AppConfig


class BenchmarksConfig(AppConfig):
    name = "benchmarks"
