"""App of what is asked: tasks, their versions and rubrics."""

from django.apps import AppConfig


class TasksConfig(AppConfig):
    name = "tasks"

    def ready(self) -> None:
        from tasks.session_links import TaskLinks
        from traces import links

        links.register("tasks", TaskLinks())
