"""pytest: the whole suite with the repository's own configuration, and the hidden tests wherever they lie."""

from __future__ import annotations

from runs.grading.base import Reading
from runs.grading.channel import Transcript
from runs.grading.driver import Plan
from runs.grading.frameworks.signed import read_signed
from runs.grading.inside_files import program

PYTHON = """python=$(command -v python || command -v python3) || { printf '%s missing\\n' "$begun"; exit 0; }
printf '%s ran\\n' "$begun"
printf '%s\\n' "$key" |
    PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0 PYTHONNOUSERSITE=1 PYTHONUNBUFFERED=1 \\
    "$python" "$dir/@MAIN@" 3>&1 1>&2
status=$?
printf '\\n%s exit %s\\n' "$ended" "$status"
"""

MISSING = (
    "pytest (6 or later) is not installed in the image, so the tests cannot be run. Add `pip install pytest` to "
    "environment.setup, or name another environment.test_framework."
)


class Pytest:
    """Runs `python -m pytest` from the image's PATH, through inside/pytest_main.py."""

    name = "pytest"

    def files(self, plan: Plan) -> dict[str, bytes]:
        return {
            "pytest_main.py": program("pytest_main.py"),
            "oneshot_channel.py": program("oneshot_channel.py"),
            "plan.json": plan.runner_plan(),
        }

    def script(self, plan: Plan) -> str:
        return PYTHON.replace("@MAIN@", "pytest_main.py")

    def read(self, transcript: Transcript, plan: Plan) -> Reading:
        return read_signed(transcript, plan, checks=True, missing=MISSING)
