"""What workers do for the judge. A job carries an id and nothing else; everything it needs is in the row."""

from runs.judging import suggesting
from runs.judging.execution import execute


def judge_job(judgement_id: str) -> None:
    """Judge, unless another worker has the row or it has ended."""
    execute(judgement_id)


def suggest_job(suggestion_id: str) -> None:
    """Ask for suggestions, unless another worker does or it is over."""
    suggesting.execute(suggestion_id)
