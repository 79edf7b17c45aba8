"""unittest: every file named test*.py, run by the standard library alone."""

from __future__ import annotations

from runs.grading.base import Reading
from runs.grading.channel import Transcript
from runs.grading.driver import Plan
from runs.grading.frameworks.pytest import ANY, PYTHON
from runs.grading.frameworks.signed import read_signed
from runs.grading.inside_files import program

MISSING = (
    "There is no Python in the image, so the unittest suite cannot be run. Add python3 to environment.packages, "
    "or name another environment.test_framework."
)


class Unittest:
    """Runs inside/unittest_main.py, which needs no package."""

    name = "unittest"

    def files(self, plan: Plan) -> dict[str, bytes]:
        return {
            "unittest_main.py": program("unittest_main.py"),
            "oneshot_channel.py": program("oneshot_channel.py"),
            "plan.json": plan.runner_plan(),
        }

    def script(self, plan: Plan) -> str:
        return ANY + PYTHON.replace("@MAIN@", "unittest_main.py").replace("@ENV@", "")

    def read(self, transcript: Transcript, plan: Plan) -> Reading:
        return read_signed(transcript, plan, checks=True, missing=MISSING)
