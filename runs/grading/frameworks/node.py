"""node: node:test suites, each file in a process of its own."""

from __future__ import annotations

from runs.grading.base import Reading
from runs.grading.channel import Transcript
from runs.grading.driver import Plan
from runs.grading.frameworks.signed import read_signed
from runs.grading.inside_files import program

SCRIPT = """command -v node >/dev/null || { printf '%s missing\\n' "$begun"; exit 0; }
case $(node --version) in v[0-9].*|v1[0-9].*) printf '%s missing\\n' "$begun"; exit 0;; esac
printf '%s ran\\n' "$begun"
printf '%s\\n' "$key" | node "$dir/node_main.mjs" 3>&1 1>&2
status=$?
printf '\\n%s exit %s\\n' "$ended" "$status"
"""

MISSING = (
    "There is no Node 20 or later in the image, so its tests cannot be run. Add nodejs to environment.packages "
    "or a base image that has it, or give an environment.test_command for another runner."
)


class Node:
    """Runs inside/node_main.mjs. The report is made in a process that no code under test runs in."""

    name = "node"

    def files(self, plan: Plan) -> dict[str, bytes]:
        return {"node_main.mjs": program("node_main.mjs"), "plan.json": plan.runner_plan()}

    def script(self, plan: Plan) -> str:
        return SCRIPT

    def read(self, transcript: Transcript, plan: Plan) -> Reading:
        return read_signed(transcript, plan, checks=False, missing=MISSING)
