"""The trace of a run: what its door recorded and its agent's own transcripts, imported as one session."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from runs.agents.base import Log
from runs.models import Run
from traces.models import Session

logger = logging.getLogger(__name__)


def import_trace(run: Run, transcripts: Mapping[str, bytes], log: Log, secrets: Sequence[str] = ()) -> Session | None:
    """Return the session of a run, imported from what there is; None when there is nothing, or it cannot be read.

    `secrets` are exact values that must not be kept. Safe to do again: the same run has one session. Never raises, for
    a trace decides nothing about a run.
    """
    from traces import importing

    # Both may have changed while the run went on.
    fresh = Run.objects.select_related("team").get(pk=run.pk)
    try:
        session = importing.import_for_run(
            run_id=str(run.pk),
            team=fresh.team,
            public=fresh.public,
            agent=run.agent.kind,
            transcripts=transcripts,
            secrets=secrets,
        )
    except Exception as error:
        logger.exception("The trace of run %s was not imported", run.pk)
        log("trace", f"the trace could not be imported: {type(error).__name__}: {error}")
        return None
    # An earlier try of the same run, lost with its worker, has left a session of its own.
    mine = Session.objects.filter(team=fresh.team, origin=Session.Origin.RUN, thread_id=run.detail.get("thread_id", ""))
    return (mine.exclude(thread_id="").exclude(runs__in=Run.objects.exclude(pk=run.pk)).first()) or session
