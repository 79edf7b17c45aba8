"""What workers do. A job carries an id and nothing else; everything it needs is in the row."""

from runs.execution import execute
from runs.models import Validation


def run_job(run_id: str) -> None:
    """Execute a run, unless another worker has it or it has ended."""
    execute(run_id)


def conclude_job(validation_id: str) -> None:
    """Conclude a validation that needs no run, unless it is over."""
    # Imported when one comes: runs do without it.
    from runs.validation import conclude

    validation = Validation.objects.select_related("task_version__task").filter(pk=validation_id).first()
    if validation is not None:
        conclude(validation)
