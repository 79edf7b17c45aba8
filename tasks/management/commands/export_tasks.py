"""Writes tasks out as directories."""

from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from typing import Any

from oneshot.accounts.models import Visibility
from oneshot.management.base import BadInput, OneShotCommand
from tasks.exporting import ExportResult, export_tasks
from tasks.exporting.exports import REFUSED, WRITTEN
from tasks.models import Task
from tasks.problems import shown


class Command(OneShotCommand):
    help = (
        "Export tasks as created directories, which the original OneShot's `prepare` and `import_tasks` read. "
        "Exit status 0 when all were written, 2 when any was refused."
    )
    example = "oneshot export_tasks slug-length roman-numerals --to exported"
    prints_json = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slugs", nargs="*", metavar="SLUG", help="tasks; default: all that are not retired")
        parser.add_argument("--to", required=True, metavar="DIR", help="the folder that gets one directory for each")
        parser.add_argument("--format", default="oneshot", choices=["oneshot"], help="the form; there is one so far")
        parser.add_argument("--public-only", action="store_true", help="leave out tasks that not everyone may read")
        parser.add_argument(
            "--include-sensitive", action="store_true", help="export tasks that are sensitive or hold secrets too"
        )

    def run(self, **options: Any) -> int | None:
        target = Path(options["to"]).expanduser()
        if target.exists() and not target.is_dir():
            raise BadInput(f"{shown(str(target), 300)} is no folder. Name one, or a name that is free, after --to.")
        results = export_tasks(
            _tasks(options["slugs"], public_only=options["public_only"]),
            target,
            include_sensitive=options["include_sensitive"],
            on_result=(lambda result: None) if self.as_json else self._print,
        )
        counts = Counter(result.result for result in results)
        if self.as_json:
            self.emit({"to": str(target), "tasks": [result.as_dict() for result in results]})
        else:
            noun = "task" if len(results) == 1 else "tasks"
            parts = [f"{counts[kind]} {kind}" for kind in (WRITTEN, REFUSED) if counts[kind]]
            self.stdout.write(f"{len(results)} {noun}" + (f": {', '.join(parts)}." if parts else "."))
        return 2 if counts[REFUSED] else None

    def _print(self, result: ExportResult) -> None:
        name = f"{result.slug} v{result.version}" if result.version else result.slug
        self.stdout.write("  ".join(part for part in (f"{result.result:<8}", name, result.path or "") if part))
        for line in [*result.problems, *(f"note: {note}" for note in result.notes)]:
            self.stdout.write(f"    {line}")


def _tasks(slugs: list[str], *, public_only: bool) -> list[Task]:
    tasks = Task.objects.select_related("current_version", "session").order_by("slug")
    if public_only:
        tasks = tasks.filter(visibility=Visibility.PUBLIC)
    if not slugs:
        return list(tasks.exclude(state=Task.State.RETIRED).exclude(current_version=None))
    found = {task.slug: task for task in tasks.filter(slug__in=slugs)}
    if missing := [slug for slug in slugs if slug not in found]:
        which = "public task" if public_only else "task"
        raise BadInput(f"There is no {which} {shown(missing[0])!r}. `oneshot export_tasks` without names takes all.")
    return [found[slug] for slug in dict.fromkeys(slugs)]
