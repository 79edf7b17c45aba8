"""pytest: the whole suite with the repository's own configuration, and the hidden tests wherever they lie."""

from __future__ import annotations

import shlex

from runs.grading.base import Reading
from runs.grading.channel import Transcript
from runs.grading.driver import Plan
from runs.grading.frameworks.commands import PytestCommand
from runs.grading.frameworks.signed import read_signed
from runs.grading.inside_files import program

# A named program: Python itself, or pytest, whose Python lies beside it.
NAMED = """python=$(command -v @PROGRAM@) || { printf '%s missing\\n' "$begun"; exit 0; }
case ${python##*/} in
pytest|py.test)
    beside=${python%/*}/python
    [ -x "$beside" ] || beside=${python%/*}/python3
    [ -x "$beside" ] || beside=$(command -v python || command -v python3)
    python=$beside ;;
esac
"""
ANY = """python=$(command -v python || command -v python3) || { printf '%s missing\\n' "$begun"; exit 0; }
"""
PYTHON = """printf '%s ran\\n' "$begun"
printf '%s\\n' "$key" |
    @ENV@PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0 PYTHONNOUSERSITE=1 PYTHONUNBUFFERED=1 \\
    "$python" "$dir/@MAIN@" 3>&1 1>&2
status=$?
printf '\\n%s exit %s\\n' "$ended" "$status"
"""

MISSING = (
    "pytest (6 or later) is not installed in the image, so the tests cannot be run. Add `pip install pytest` to "
    "environment.setup, or name another environment.test_framework."
)


class Pytest:
    """Runs `python -m pytest` of the image, or what a test command asks of it, through inside/pytest_main.py."""

    name = "pytest"

    def __init__(self, command: PytestCommand | None = None) -> None:
        self.command = command

    def files(self, plan: Plan) -> dict[str, bytes]:
        command = self.command
        asked = {"arguments": list(command.arguments), "root_on_path": command.root_on_path} if command else {}
        return {
            "pytest_main.py": program("pytest_main.py"),
            "oneshot_channel.py": program("oneshot_channel.py"),
            "plan.json": plan.runner_plan(**asked),
        }

    def script(self, plan: Plan) -> str:
        command = self.command
        find = NAMED.replace("@PROGRAM@", shlex.quote(command.program)) if command else ANY
        env = "".join(f"{name}={shlex.quote(value)} " for name, value in command.env.items()) if command else ""
        return find + PYTHON.replace("@MAIN@", "pytest_main.py").replace("@ENV@", env)

    def read(self, transcript: Transcript, plan: Plan) -> Reading:
        return read_signed(transcript, plan, checks=True, missing=MISSING)
