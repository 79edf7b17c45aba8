"""Takes in tasks from directories and archives."""

from argparse import ArgumentParser
from collections import Counter
from typing import Any

from oneshot.accounts.actions import default_team
from oneshot.accounts.models import Team
from oneshot.management.base import BadInput, OneShotCommand
from tasks.actions import NEW, NEW_VERSION, REFUSED, UNCHANGED, ImportResult, import_tasks
from tasks.problems import shown

WORDS = {NEW: "new", NEW_VERSION: "new version", UNCHANGED: "unchanged", REFUSED: "refused"}


class Command(OneShotCommand):
    help = (
        "Import tasks: OneShot directories (created or prepared), folders of them, .zip and .tar.gz archives. "
        "Exit status 0 when all went in, 2 when any was refused."
    )
    example = "oneshot import_tasks my-task data/tasks/created more-tasks.zip --team main"
    prints_json = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("paths", nargs="+", metavar="PATH", help="a task's directory, a folder of them, an archive")
        parser.add_argument(
            "--team", default="", metavar="SLUG", help="the team that gets them; default: the oldest one"
        )
        parser.add_argument("--public", action="store_true", help="let everyone read the new tasks, without logging in")
        parser.add_argument(
            "--dry-run", action="store_true", help="check them and say what would happen; store nothing"
        )

    def run(self, **options: Any) -> int | None:
        results = import_tasks(
            options["paths"],
            team=_team(options["team"]),
            public=options["public"],
            dry_run=options["dry_run"],
            on_result=(lambda result: None) if self.as_json else self._print,
        )
        counts = Counter(result.result for result in results)
        if self.as_json:
            self.emit({"tasks": [result.as_dict() for result in results]})
        else:
            parts = [f"{counts[kind]} {word}" for kind, word in WORDS.items() if counts[kind]]
            noun = "task" if len(results) == 1 else "tasks"
            dry = " Nothing was stored." if options["dry_run"] else ""
            self.stdout.write(f"{len(results)} {noun}: {', '.join(parts)}.{dry}")
        return 2 if counts[REFUSED] else None

    def _print(self, result: ImportResult) -> None:
        name = f"{result.slug} v{result.version}" if result.version else result.slug or ""
        self.stdout.write(
            "  ".join(part for part in (f"{WORDS[result.result]:<11}", name, shown(result.path, 200)) if part)
        )
        for problem in result.problems:
            self.stdout.write(f"    {problem}")
        for note in result.notes:
            self.stdout.write(f"    note: {note}")


def _team(slug: str) -> Team:
    if not slug:
        return default_team()
    team = Team.objects.filter(slug=slug).first()
    if team is None:
        known = ", ".join(Team.objects.order_by("slug").values_list("slug", flat=True)[:20]) or "none yet"
        raise BadInput(f"There is no team {slug!r}. The teams are: {known}.")
    return team
