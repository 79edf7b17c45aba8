"""Entry point of `manage.py` and of the installed `oneshot` command."""

import os
import sys

# Called where people work, and given every word as it was typed.
WRAPPERS = ("codex", "claude")


def main(argv: list[str] | None = None) -> None:
    """Run a Django management command with OneShot's settings.

    What people start many times a day goes past Django: an agent, and the MCP server that the agent waits for.
    """
    words = argv or sys.argv
    if words[1:2] and words[1] in WRAPPERS:
        from tasks.wrappers.launch import main as launch

        sys.exit(launch(words[1], words[2:]))
    if words[1:2] == ["capture"]:
        from oneshot import places

        try:
            data_dir = places.enter()
        except (places.NoInstallation, OSError) as error:
            print(f"oneshot: {error}", file=sys.stderr)  # noqa: T201
            sys.exit(2)
        if words[2:] == ["mcp"]:
            from tasks.capture.mcp import front

            sys.exit(front.main(data_dir, places.started_in()))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "oneshot.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(words)
