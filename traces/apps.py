"""App of what was said: redaction now, sessions and the gateway later."""

from django.apps import AppConfig


class TracesConfig(AppConfig):
    name = "traces"
