"""The rubric judge: a model answers each criterion for a run, and the server checks the evidence it quotes.

`prompts`, `evidence`, `answers`, `checking`, `suspicion`, `scoring` and `agreement` are plain Python. `client` speaks
to the model, `execution` does one judgement, `actions` is what pages, commands and jobs call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runs.models import Run


def run_ended(run: Run) -> None:
    """Have the default judges judge a run that has ended; see runs/judging/actions.py."""
    # Imported when a run ends: every start of a command would pay for it.
    from runs.judging import actions

    actions.run_ended(run)
