"""Entry point of `manage.py` and of the installed `oneshot` command."""

import os
import sys


def main(argv: list[str] | None = None) -> None:
    """Run a Django management command with OneShot's settings."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "oneshot.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(argv or sys.argv)
