"""What workers do. A job carries an id and nothing else; everything it needs is in the row."""

from runs.execution import execute


def run_job(run_id: str) -> None:
    """Execute a run, unless another worker has it or it has ended."""
    execute(run_id)
