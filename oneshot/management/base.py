"""What every OneShot command shares: its database, its manners on a terminal and in a pipe, its exit statuses."""

import fcntl
import json
import sys
from argparse import RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.migrations.executor import MigrationExecutor


class BadInput(CommandError):
    """What was asked for cannot be done as asked; the message names it and the mend. Exit status 2."""

    def __init__(self, message: str) -> None:
        super().__init__(message, returncode=2)


class OneShotCommand(BaseCommand):
    """A command with an example in its help, `--json` where it prints results, and words on standard error.

    Subclasses give `help`, `example`, `prints_json` and `run`, which returns the exit status or None for 0.
    """

    example = ""
    prints_json = False
    requires_system_checks: list[str] = []
    requires_database = True
    # Does the work, with the command's own options as keywords; raises BadInput for what the caller must mend.
    run: Callable[..., int | None]

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(
            prog_name, subcommand, epilog=f"example:\n  {self.example}", formatter_class=_Help, **kwargs
        )
        if self.prints_json:
            parser.add_argument("--json", action="store_true", help="print one JSON document on standard output")
        return parser

    def handle(self, *args: Any, **options: Any) -> None:
        self.as_json = bool(options.pop("json", False))
        try:
            if self.requires_database:
                ensure_database(self.say)
            status = self.run(**options)
        except BadInput as error:
            if not getattr(self, "_called_from_command_line", False):
                raise
            # Django would put the name of the class before the message.
            self.say(str(error))
            status = error.returncode
        if status:
            sys.exit(status)

    def say(self, text: str) -> None:
        """Tell a person something; on standard error, so that standard output stays for results."""
        self.stderr.write(text, style_func=lambda line: line)

    def emit(self, document: dict[str, Any]) -> None:
        """Print the one JSON document of a command that was called with --json."""
        self.stdout.write(json.dumps(document, indent=2, default=str))

    @property
    def on_terminal(self) -> bool:
        """Whether progress may be redrawn in place."""
        return bool(getattr(self.stderr, "isatty", lambda: False)()) and not self.as_json


class _Help(RawDescriptionHelpFormatter):
    """Keeps the line breaks of the example and leaves Django's own options out of the way."""

    def add_usage(self, usage: Any, actions: Any, *args: Any, **kwargs: Any) -> None:
        super().add_usage(usage, [a for a in actions if not _is_djangos(a)], *args, **kwargs)

    def add_arguments(self, actions: Any) -> None:
        super().add_arguments([a for a in actions if not _is_djangos(a)])


def _is_djangos(action: Any) -> bool:
    hidden = {"--settings", "--pythonpath", "--traceback", "--no-color", "--force-color", "--version", "--verbosity"}
    return bool(hidden & set(action.option_strings))


def ensure_database(say: Any) -> None:
    """Make the default SQLite database on first use; for any other, say how to migrate it.

    Raises BadInput with the mend when the database cannot be reached or is behind this version.
    """
    executor, missing = _missing_migrations()
    if not missing:
        return
    if connections[DEFAULT_DB_ALIAS].vendor != "sqlite":
        raise BadInput(f"The database is {missing} migrations behind. Run `oneshot migrate`.")
    with (Path(settings.DATA_DIR) / "migrate.lock").open("w") as lock:
        # Several agents may start their MCP servers in the same second.
        fcntl.flock(lock, fcntl.LOCK_EX)
        executor, missing = _missing_migrations()
        if not missing:
            return
        if not executor.loader.applied_migrations:
            say(f"Making a new database in {settings.DATA_DIR}")
        call_command("migrate", verbosity=0, interactive=False)


def _missing_migrations() -> tuple[MigrationExecutor, int]:
    try:
        executor = MigrationExecutor(connections[DEFAULT_DB_ALIAS])
        return executor, len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    except DatabaseError as error:
        raise BadInput(
            f"The database cannot be used: {str(error).strip()}. "
            f"It is {describe_database()}; check DATABASE_URL, or run `oneshot doctor`."
        ) from error


def describe_database() -> str:
    """Return where the database is, without its password."""
    database = settings.DATABASES[DEFAULT_DB_ALIAS]
    if database["ENGINE"].endswith("sqlite3"):
        return f"the file {database['NAME']}"
    return f"{database['NAME']} on {database.get('HOST') or 'localhost'}"
