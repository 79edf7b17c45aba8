"""Captures from the terminal: start, end and repair them, and register the tools with an agent."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from oneshot import places
from oneshot.accounts.actions import default_team
from oneshot.management.base import BadInput, OneShotCommand
from tasks import capture
from tasks.capture import installing
from tasks.capture.client import Client
from tasks.capture.mcp.calls import end_result, failure, start_result
from tasks.capture.stanza import stanza
from tasks.models import Capture
from tasks.problems import shown

if TYPE_CHECKING:
    from traces.models import Session

BY_HAND = Client(name="command line")
NOT_READY = 1

HELP = {
    "install": ("register the task tools with an agent, or write the codex-synth shim", "install codex"),
    "uninstall": ("put back what `install` changed", "uninstall codex"),
    "mcp": ("the MCP server itself, on standard input and output; agents start it", "mcp"),
    "start": ("start recording a task in the repository here", 'start "Fix the rounding of totals"'),
    "end": ("end the task that was started here, and make its draft", 'end --summary "Rounded half to even"'),
    "status": ("list the tasks that are being recorded", "status"),
    "finish": ("end a recording that its agent never ended, now", "finish fix-the-rounding"),
    "drop": ("give a recording up; no task is made, and no file of the repository is touched", "drop fix-the-rounding"),
    "from-session": (
        "make a draft of a session that was not captured, from its trace and the repository's history",
        "from-session 01a1b2c3 --repository ~/code/my-project --end my-branch",
    ),
    "readiness": ("say whether a task can be recorded in the repository here; exit status 1 if not", "readiness"),
    "autofix": ("mend what keeps a task from being recorded, as far as no work can be lost", "autofix"),
}


class Command(OneShotCommand):
    help = "Record work in a repository, from a start to an end, so that it becomes a task draft with its trace."
    example = 'oneshot capture install codex\n  oneshot capture start "Fix the rounding of totals"'
    # The server and the registering need no database, and must work without one.
    requires_database = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
        made = {}
        for name, (text, example) in HELP.items():
            made[name] = actions.add_parser(
                name,
                help=text,
                description=text[0].upper() + text[1:] + ".",
                epilog=f"example:\n  oneshot capture {example}",
                formatter_class=RawDescriptionHelpFormatter,
            )
        for name in ("start", "end", "status", "finish", "drop", "from-session", "readiness", "autofix"):
            made[name].add_argument("--json", action="store_true", help="print one JSON document on standard output")
        for name in ("install", "uninstall"):
            made[name].add_argument("what", choices=["codex", "claude", "shim"], help="the agent, or the shim")
            made[name].add_argument("--project", action="store_true", help="for the project here instead of the user")
            made[name].add_argument("--dir", default="~/.local/bin", help="where the shim lies (default: %(default)s)")
        made["start"].add_argument("title", help="short title of the task")
        made["start"].add_argument("--notes", default="", help="what is asked for")
        made["end"].add_argument("--summary", default="", help="what was done")
        for name in ("start", "end"):
            made[name].add_argument("--label", action="append", default=[], dest="labels", help="may be repeated")
        for name in ("end", "finish", "drop"):
            made[name].add_argument(
                "id", nargs="?", default="", help="slug or id, or how it begins; default: the one here"
            )
        made["from-session"].add_argument(
            "session", help="id of the session or of the agent's thread, or its beginning"
        )
        for option, text in (
            ("--repository", "where the code is (default: the folder that the session worked in, if it is there)"),
            ("--start", "commit before the work (default: as the session says)"),
            ("--end", "commit after the work (default: the session's patches, or its last commit)"),
            ("--title", "title of the task (default: the session's)"),
        ):
            made["from-session"].add_argument(option, default="", help=text)

    def run(self, **options: Any) -> int | None:
        self.here = places.started_in()
        action = options["action"]
        if action in ("install", "uninstall", "mcp"):
            return getattr(self, f"_{action}")(options)
        from oneshot.management.base import ensure_database

        ensure_database(self.say)
        try:
            return getattr(self, f"_{action.replace('-', '_')}")(options)
        except capture.NotReady as error:
            return self._not_ready(error)
        except capture.CaptureError as error:
            if self.as_json:
                self.emit(failure(error.code, str(error)))
                return 2
            raise BadInput(str(error)) from None

    # The server and its registration

    def _mcp(self, options: dict[str, Any]) -> int | None:
        from tasks.capture.mcp import front

        return front.main(Path(settings.DATA_DIR), self.here)

    def _install(self, options: dict[str, Any]) -> None:
        data_dir = Path(settings.DATA_DIR)
        places.remember(data_dir)
        try:
            if options["what"] == "shim":
                folder = (self.here / Path(options["dir"]).expanduser()).absolute()
                done = installing.install_shim(folder, [sys.executable, "-P", "-m", "oneshot"], data_dir)
            else:
                done = installing.install(self._place(options), stanza(data_dir), records=data_dir / "installed")
        except installing.CannotInstall as error:
            raise BadInput(str(error)) from None
        words = {
            "added": "now starts" if options["what"] == "shim" else "now has the task tools",
            "updated": "was brought up to date",
            "unchanged": "has them already" if options["what"] != "shim" else "is there already",
        }
        self.stdout.write(f"{done.path} {words[done.change]}.")
        for note in done.notes:
            self.say(note)

    def _uninstall(self, options: dict[str, Any]) -> None:
        try:
            if options["what"] == "shim":
                done = installing.uninstall_shim((self.here / Path(options["dir"]).expanduser()).absolute())
            else:
                records = Path(settings.DATA_DIR) / "installed"
                done = installing.uninstall(self._place(options), records=records)
        except installing.CannotInstall as error:
            raise BadInput(str(error)) from None
        words = {
            "absent": "has nothing of OneShot's.",
            "restored": "is as it was before.",
            "removed": "was removed." if options["what"] == "shim" else "no longer has the task tools.",
        }
        self.stdout.write(f"{done.path} {words[done.change]}")
        for note in done.notes:
            self.say(note)

    def _place(self, options: dict[str, Any]) -> installing.Place:
        return installing.place(options["what"], project=self._project() if options["project"] else None)

    def _project(self) -> Path:
        tops = (folder for folder in (self.here, *self.here.parents) if (folder / ".git").exists())
        return next(tops, self.here)

    # Captures

    def _start(self, options: dict[str, Any]) -> None:
        started = capture.start(
            worktree=self.here,
            title=options["title"],
            notes=options["notes"],
            labels=options["labels"],
            client=BY_HAND,
        )
        if self.as_json:
            self.emit(start_result(started))
            return
        self.stdout.write(f"Recording {started.slug} in {shown(started.worktree, 300)}.")
        for note in started.detail["notes"]:
            self.stdout.write(f"  note    {shown(note, 1000)}")
        self.say('Work as you like, then: oneshot capture end --summary "what was done"')

    def _end(self, options: dict[str, Any]) -> None:
        found = self._one(options["id"])
        self._tell(
            capture.end(
                found,
                summary=options["summary"],
                labels=options["labels"],
                client=BY_HAND,
                worktree=self.here if not options["id"] else None,
            )
        )

    def _finish(self, options: dict[str, Any]) -> None:
        self._tell(capture.finish(self._one(options["id"])))

    def _from_session(self, options: dict[str, Any]) -> None:
        session = session_called(options["session"])
        named = options["repository"]
        place = (self.here / Path(named).expanduser()) if named else Path(session.cwd)
        there = bool(named) or (place.is_absolute() and place.is_dir())
        self._tell(
            capture.from_session(
                session,
                repository=place if there else None,
                start=options["start"],
                end=options["end"],
                title=options["title"],
            )
        )

    def _drop(self, options: dict[str, Any]) -> None:
        found = self._one(options["id"])
        capture.drop(found)
        if self.as_json:
            self.emit({"ok": True, "task_slug": found.slug})
        else:
            self.stdout.write(f"Dropped {found.slug}. Nothing in the repository was touched.")

    def _tell(self, ended: capture.Ended) -> None:
        result = end_result(ended)
        if self.as_json:
            self.emit(result)
            return
        files = "file" if len(ended.touched_files) == 1 else "files"
        self.stdout.write(
            f"Task draft {ended.task.slug}: {len(ended.touched_files)} {files} changed, {ended.diff_bytes:,} bytes."
        )
        self.stdout.write(f"  draft   {result['url']}")
        self.stdout.write(f"  files   {ended.task_dir}")
        for note in ended.notes:
            self.stdout.write(f"  note    {note}")

    def _status(self, options: dict[str, Any]) -> None:
        found = list(capture.open_captures())
        if self.as_json:
            self.emit({"captures": [_row(one) for one in found]})
            return
        if not found:
            self.stdout.write("Nothing is being recorded.")
        for one in found:
            agent = one.agent or "by hand"
            self.stdout.write(
                f"{one.slug}  {agent}, {_age(one)}  {shown(one.worktree, 200)}\n  {shown(one.title, 200)}"
            )
        if found:
            self.say("End one with `oneshot capture finish SLUG`, give it up with `oneshot capture drop SLUG`.")

    def _one(self, name: str) -> Capture:
        """Return the open capture that is meant: by slug or id, or how these begin, else the one here."""
        if not name:
            found = capture.find_open(self.here, BY_HAND)
            if found is None:
                raise BadInput(f"Nothing is being recorded in {self.here}. `oneshot capture status` lists what is.")
            return found
        fits = [one for one in capture.open_captures() if one.slug.startswith(name) or str(one.pk).startswith(name)]
        exact = [one for one in fits if name in (one.slug, str(one.pk))]
        if len(exact or fits) == 1:
            return (exact or fits)[0]
        if not fits:
            # An end that is asked for twice tells the same twice.
            ended = Capture.objects.exclude(status=Capture.Status.OPEN).filter(slug=name).first()
            if ended is not None:
                return ended
            raise BadInput(f"No recording that is open is called {shown(name, 100)}. See `oneshot capture status`.")
        raise BadInput(
            f"{shown(name, 100)} fits several: {', '.join(one.slug for one in fits[:10])}. Write more of it."
        )

    # Readiness

    def _readiness(self, options: dict[str, Any]) -> int | None:
        from tasks.capture import readiness

        return self._show(readiness.check(self.here).as_dict(), "issues")

    def _autofix(self, options: dict[str, Any]) -> int | None:
        from tasks.capture.autofix import autofix

        return self._show(autofix(self.here), "remaining_issues")

    def _not_ready(self, error: capture.NotReady) -> int:
        if self.as_json:
            self.emit(failure(error.code, str(error), details=error.details))
        else:
            self._print_issues(error.details["issues"], error.details["summary"])
            self.say("Nothing was started. `oneshot capture autofix` mends what it safely can.")
        return NOT_READY

    def _show(self, result: dict[str, Any], issues: str) -> int | None:
        if self.as_json:
            self.emit(result)
        else:
            for name in result.get("fixed", []):
                self.stdout.write(f"mended   {name}")
            self._print_issues(result[issues], result["summary"])
        return None if result["ok"] else NOT_READY

    def _print_issues(self, issues: list[dict[str, Any]], summary: str) -> None:
        for issue in issues:
            self.stdout.write(f"{issue['severity']:<8} {issue['id']}: {issue['message']}")
            if issue["fix_suggestion"]:
                self.stdout.write(f"         {issue['fix_suggestion']}")
            for command in issue["commands"]:
                self.stdout.write(f"           {command}")
        self.stdout.write(summary)


def session_called(name: str) -> Session:
    """Return the session that is meant: by its id or its thread's, or how one begins. Raises BadInput.

    One that this installation has not seen yet is looked for in the gateway's record and the agents' own files.
    """
    from traces.importing import import_thread
    from traces.models import Session

    meant = Q(thread_id__startswith=name)
    digits = name.replace("-", "").lower()
    if re.fullmatch("[0-9a-f]{1,32}", digits):
        meant |= Q(pk__range=(UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))))
    fits = list(Session.objects.filter(meant).order_by("-created_at")[:11]) if name else []
    exact = [one for one in fits if name in (str(one.pk), one.thread_id)]
    if len(exact or fits) == 1:
        return (exact or fits)[0]
    if fits:
        listed = "\n".join(f"  {one.pk}  {shown(one.title, 60)}" for one in (exact or fits)[:10])
        raise BadInput(f"{shown(name, 100)} fits several sessions; name one by its id:\n{listed}")
    for agent in ("codex", "claude_code"):
        if found := import_thread(agent=agent, thread_id=name, team=default_team()):
            return found
    raise BadInput(
        f"No session is called {shown(name, 100)}. The page of sessions shows the ids; `oneshot import_traces PATH` "
        "reads further ones."
    )


def _row(one: Capture) -> dict[str, Any]:
    return {
        "id": str(one.pk),
        "task_slug": one.slug,
        "title": one.title,
        "worktree": one.worktree,
        "branch": one.branch,
        "agent": one.agent,
        "thread_id": one.thread_id,
        "start_commit": one.start_commit,
        "started_at": one.started_at.isoformat(),
    }


def _age(one: Capture) -> str:
    minutes = int((timezone.now() - one.started_at).total_seconds() // 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} days"
