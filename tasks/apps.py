"""App of what is asked: tasks, their versions and rubrics."""

from django.apps import AppConfig


class TasksConfig(AppConfig):
    name = "tasks"
