"""What workers do for the judge. A job carries an id and nothing else; everything it needs is in the row."""

from runs.judging.execution import execute


def judge_job(judgement_id: str) -> None:
    """Judge, unless another worker has the row or it has ended."""
    execute(judgement_id)
