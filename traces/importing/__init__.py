"""Import of traces: what readers find becomes sessions, each once, whatever number of sources have seen it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oneshot.accounts.actions import default_team
from oneshot.accounts.models import Team, User
from traces.importing import finding
from traces.importing.applying import Applied, apply
from traces.importing.preparing import Into
from traces.models import Exchange, ImportCursor, Session
from traces.proxy import database_path
from traces.readers.base import PROBLEMS_TOLD, Batch, NotReadable, Problem, Reader
from traces.readers.proxy import ProxyReader

__all__ = ["ImportReport", "import_for_run", "import_new", "import_paths", "import_thread"]


@dataclass(kw_only=True)
class ImportReport:
    """What became of one source. `reader` is "" for a source that no reader knows."""

    path: str
    reader: str = ""
    new: set[Any] = field(default_factory=set)
    updated: set[Any] = field(default_factory=set)
    unchanged: set[Any] = field(default_factory=set)
    exchanges: int = 0
    steps: int = 0
    problems: list[Problem] = field(default_factory=list)
    # Problems beyond those that are told.
    more_problems: int = 0
    # The source as a whole could not be read, or is of no known kind.
    refused: bool = False

    @property
    def session_ids(self) -> list[str]:
        """The sessions it has something of."""
        return sorted(str(pk) for pk in self.new | self.updated | self.unchanged)

    def as_dict(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "reader": self.reader,
            "refused": self.refused,
            "sessions": {"new": len(self.new), "updated": len(self.updated), "unchanged": len(self.unchanged)},
            "session_ids": self.session_ids,
            "exchanges": self.exchanges,
            "steps": self.steps,
            "problems": [problem.as_dict() for problem in self.problems],
            "more_problems": self.more_problems,
        }

    def note(self, applied: Applied) -> None:
        """Count what a batch did to a session."""
        pk = applied.session.pk
        self.exchanges += applied.exchanges
        self.steps += applied.steps
        if applied.created:
            self.new.add(pk)
        elif applied.changed and pk not in self.new:
            self.updated.add(pk)
            self.unchanged.discard(pk)
        elif pk not in self.new | self.updated:
            self.unchanged.add(pk)

    def complain(self, problems: Iterable[Problem]) -> None:
        """Keep problems, as many as are told."""
        for problem in problems:
            if len(self.problems) < PROBLEMS_TOLD:
                self.problems.append(problem)
            else:
                self.more_problems += 1


Progress = Callable[[ImportReport], None]


def import_paths(
    paths: Sequence[Path | str], *, team: Team, user: User | None = None, on_progress: Progress | None = None
) -> list[ImportReport]:
    """Import what is new in files, databases and directories; one report for each source that was read.

    A path that is nothing readable has a report that is `refused` and says why. `on_progress` is called after every
    batch with the report so far. Importing the same again changes nothing.
    """
    into = Into(team=team, user=user)
    reports: list[ImportReport] = []
    for path in map(Path, paths):
        count = len(reports)
        for found, reader in finding.files_in(path):
            reports.append(_import_file(found, reader, into, on_progress))
        if len(reports) == count:
            reports.append(_refusal(path))
    return reports


def import_thread(
    *, agent: str, thread_id: str, team: Team, user: User | None = None, public: bool = False
) -> Session | None:
    """Import one session by the agent's own id, from this installation's gateway and this machine's transcripts.

    Returns it as it is then, also when nothing was new; None when nothing is known of it. An id that is no plain name
    finds nothing.
    """
    if not finding.THREAD_ID.fullmatch(thread_id):
        return None
    into = Into(team=team, user=user, public=public)
    known = _session(team, agent, thread_id)
    reader, path = ProxyReader(), database_path()
    if path.exists():
        after = _last_wire_id(known) if known else ""
        report = ImportReport(path=str(path), reader=reader.name)
        for batch in _readable(reader.read_thread(path, thread_id, after=after), path, report):
            _store(batch, into, report)
    for transcript in finding.transcripts_of(agent, thread_id):
        if native := next((found for _, found in finding.files_in(transcript)), None):
            _import_file(transcript, native, into, None)
    return _session(team, agent, thread_id)


def import_for_run(
    *,
    run_id: str,
    team: Team,
    public: bool,
    agent: str,
    transcripts: Mapping[str, bytes],
    secrets: Sequence[str] = (),
) -> Session | None:
    """Import what a run said: its exchanges at the gateway's run door, and the transcripts that its agent left.

    `transcripts` are by file name. `secrets` are further exact values to take out. Returns the run's session, that of
    the main agent when sub-agents have their own; None when nothing was said. May be called again.
    """
    into = Into(team=team, origin=Session.Origin.RUN, public=public, secrets=secrets)
    report = ImportReport(path=f"run {run_id}")
    path = database_path()
    if path.exists():
        for batch in _readable(ProxyReader().read_run(path, run_id), path, report):
            _store(batch, into, report)
    with tempfile.TemporaryDirectory(prefix="oneshot-import-") as folder:
        for number, (name, content) in enumerate(sorted(transcripts.items())):
            # A name from a sandbox becomes a file's name, never a path.
            transcript = Path(folder, str(number), Path(name).name[-150:] or "transcript.jsonl")
            transcript.parent.mkdir()
            transcript.write_bytes(content)
            for found, reader in finding.files_in(transcript):
                _read_into(found, reader, {}, into, report, None)
    # What comes out of a sandbox may claim any thread id: a person's session must not become the run's, nor public.
    own = Session.objects.filter(
        pk__in=report.new | report.updated | report.unchanged, origin=Session.Origin.RUN, team=team
    )
    own.update(public=public)
    return _main(list(own), agent)


def import_new(team: Team | None = None) -> int:
    """Import what is new in this installation's gateway into `team` (None: the default one).

    Returns how many exchanges were new. Costs next to nothing when there are none.
    """
    path = database_path()
    if not path.exists():
        return 0
    report = _import_file(path, ProxyReader(), Into(team=team or default_team()), None)
    return report.exchanges


def _session(team: Team, agent: str, thread_id: str) -> Session | None:
    found = Session.objects.filter(team=team, thread_id=thread_id)
    return (found.filter(agent=agent) if agent else found).order_by("-updated_at").first()


def _last_wire_id(session: Session) -> str:
    """Return the newest exchange that was taken from the gateway; the older ones have been taken then as well."""
    last = Exchange.objects.filter(session=session, source="proxy").order_by("-id").values_list("wire_id", flat=True)
    return last.first() or ""


def _main(sessions: list[Session], agent: str) -> Session | None:
    """Return the session of the main agent: no sub-agent's, of the agent's kind, the one that said most."""

    def order(session: Session) -> tuple[bool, bool, int, int]:
        return (
            not session.parent_thread_id,
            session.agent == agent,
            session.step_count,
            session.request_count,
        )

    return max(sessions, key=order, default=None)


def _refusal(path: Path) -> ImportReport:
    if not path.exists():
        message = "there is no such file or directory."
    elif path.is_dir():
        message = "there are no traces in this directory."
    elif path.stat().st_size == 0:
        message = "the file is empty."
    else:
        message = (
            "this is no trace that OneShot knows: a gateway's or an original OneShot's database, a Codex rollout, "
            "a Claude Code transcript or an ATIF file."
        )
    report = ImportReport(path=str(path), refused=True)
    report.complain([Problem(file=str(path), message=message)])
    return report


def _import_file(path: Path, reader: Reader, into: Into, on_progress: Progress | None) -> ImportReport:
    """Import what is new in a file since the last time, and remember how far it has been read."""
    report = ImportReport(path=str(path), reader=reader.name)
    source = f"{into.team.pk}:{reader.name}:{path.resolve()}"[-1000:]
    cursor = ImportCursor.objects.filter(source=source).first()
    position = cursor.position if cursor else {}

    def keep(position: dict[str, Any]) -> None:
        ImportCursor.objects.update_or_create(source=source, defaults={"position": position})

    _read_into(path, reader, position, into, report, on_progress, keep)
    return report


def _read_into(
    path: Path,
    reader: Reader,
    position: dict[str, Any],
    into: Into,
    report: ImportReport,
    on_progress: Progress | None,
    keep: Callable[[dict[str, Any]], None] | None = None,
) -> None:
    before = position
    for batch in _readable(reader.read(path, position), path, report):
        _store(batch, into, report)
        if keep is not None and batch.position != before:
            # After the sessions: what was interrupted between is imported again, which changes nothing.
            keep(batch.position)
            before = batch.position
        if on_progress is not None:
            on_progress(report)


def _readable(batches: Iterable[Batch], path: Path, report: ImportReport) -> Iterable[Batch]:
    """Yield batches until the source breaks; then the report says why, and what was read before is kept."""
    try:
        yield from batches
    except NotReadable as error:
        report.refused = not (report.new or report.updated or report.unchanged)
        report.complain([Problem(file=str(path), message=str(error))])


def _store(batch: Batch, into: Into, report: ImportReport) -> None:
    report.complain(batch.problems)
    for applied in apply(batch.sessions, into):
        report.note(applied)
