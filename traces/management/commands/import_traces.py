"""Import sessions from databases, rollouts, transcripts and trajectories."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from oneshot.accounts.actions import default_team
from oneshot.accounts.models import Team
from oneshot.management.base import BadInput, OneShotCommand
from traces import importing
from traces.importing import ImportReport, finding
from traces.proxy import database_path

POLL_S = 1.0
PROBLEMS_SHOWN = 20


class Command(OneShotCommand):
    help = (
        "Import sessions from the gateway's database, Codex rollouts, Claude Code transcripts, ATIF files and the "
        "original OneShot's databases, or from directories that hold them. Without a path: from this installation's "
        "gateway and the user's own ~/.codex and ~/.claude."
    )
    example = "oneshot import_traces ~/.codex/sessions --follow"
    prints_json = True

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("paths", metavar="PATH", nargs="*", type=Path, help="a file or a directory")
        parser.add_argument("--follow", action="store_true", help="go on until Ctrl-C and import what is new")
        parser.add_argument(
            "--team", metavar="SLUG", default="", help="whose the sessions are (default: the oldest team)"
        )

    def run(self, *, paths: list[Path], follow: bool, team: str, **options: Any) -> int | None:
        if follow and self.as_json:
            raise BadInput("--follow never ends, so it has no document to print. Leave --json out.")
        owner = _team(team)
        given = bool(paths)
        paths = paths or self._own_paths()
        reports = self._import(paths, owner)
        if self.as_json:
            self.emit({"imports": [report.as_dict() for report in reports]})
        if follow:
            self._follow(paths if given else None, owner)
            return None
        if given and all(report.refused for report in reports):
            return 2
        return None

    def _own_paths(self) -> list[Path]:
        """Return what there is of this machine, and say so: it may be more than somebody expects."""
        paths = [path for path in (database_path(), *finding.codex_homes(), *finding.claude_homes()) if path.exists()]
        if not paths:
            raise BadInput(
                "There is nothing to import here: no gateway's database, no ~/.codex/sessions, no ~/.claude/projects. "
                "Name a path."
            )
        for path in paths:
            self.say(f"Reading {path}")
        return paths

    def _import(self, paths: list[Path], team: Team, *, quiet: bool = False) -> list[ImportReport]:
        reports = importing.import_paths(paths, team=team, on_progress=self._progress)
        if self.on_terminal:
            self.stderr.write("\r\033[K", ending="")
        for report in reports:
            if not quiet or report.new or report.updated:
                self._tell(report)
        return reports

    def _progress(self, report: ImportReport) -> None:
        if self.on_terminal:
            name = Path(report.path).name[-60:]
            self.stderr.write(
                f"\r\033[K{name}: {report.exchanges} exchanges, {report.steps} steps", ending="", style_func=str
            )
            self.stderr.flush()

    def _tell(self, report: ImportReport) -> None:
        if not report.refused:
            self.say(
                f"{report.path}: {len(report.new)} new, {len(report.updated)} updated, "
                f"{len(report.unchanged)} unchanged; {report.exchanges} exchanges, {report.steps} steps"
            )
        for problem in report.problems[:PROBLEMS_SHOWN]:
            self.say(f"  {problem}" if not report.refused else str(problem))
        hidden = len(report.problems[PROBLEMS_SHOWN:]) + report.more_problems
        if hidden:
            self.say(f"  and {hidden} more problems")

    def _follow(self, paths: list[Path] | None, team: Team) -> None:
        """Look again and again until Ctrl-C; the readers know by size and time what has changed."""
        stop = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop.set())
        self.say("Following; press Ctrl-C to end.")
        while not stop.wait(POLL_S):
            self._import(
                paths or [p for p in (database_path(), *finding.codex_homes(), *finding.claude_homes()) if p.exists()],
                team,
                quiet=True,
            )


def _team(slug: str) -> Team:
    if not slug:
        return default_team()
    team = Team.objects.filter(slug=slug).first()
    if team is None:
        known = ", ".join(Team.objects.order_by("slug").values_list("slug", flat=True)[:20]) or "none yet"
        raise BadInput(f"There is no team {slug!r}. Teams: {known}.")
    return team
