"""script: the task's own command, which writes JUnit XML to $ONESHOT_JUNIT, as one file or a directory of files."""

from __future__ import annotations

from runs.grading.base import Reading
from runs.grading.channel import Transcript
from runs.grading.driver import Plan
from runs.grading.reports import BadReport, parse_junit
from runs.models import TestResult

Verdict = TestResult.Verdict
MOST_FILES = 500

# Where pytest is somewhere in the command: one file that cannot be imported yet must not keep all others from running.

SCRIPT = """mkdir -p "$dir/report"
printf '%s ran\\n' "$begun"
PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0 ONESHOT_JUNIT="$dir/report/junit.xml" \\
    PYTEST_ADDOPTS="${PYTEST_ADDOPTS:-} --continue-on-collection-errors" sh "$dir/command.sh" 1>&2
status=$?
printf '\\n%s exit %s\\n' "$ended" "$status"
find "$dir/report" -type f -name '*.xml' | sort | head -n @MOST@ | while IFS= read -r name; do
    printf '%s file %s\\n' "$ended" "$(($(wc -c <"$name")))"
    cat "$name"
    echo
done
"""


class Script:
    """Whatever the command says is believed, since nothing is known about how it runs the tests."""

    name = "script"

    def files(self, plan: Plan) -> dict[str, bytes]:
        return {"command.sh": str(plan.environment["test_command"]).encode() + b"\n"}

    def script(self, plan: Plan) -> str:
        return SCRIPT.replace("@MOST@", str(MOST_FILES))

    def read(self, transcript: Transcript, plan: Plan) -> Reading:
        reading = Reading(report=b"\n".join(transcript.reports))
        status = transcript.status
        if status is None:
            reading.note = "the test command was ended before its report"
            return reading
        if not transcript.reports:
            reading.note = f"the test command ended with exit status {status} and wrote no report to $ONESHOT_JUNIT"
            return reading
        try:
            for report in transcript.reports:
                reading.add(parse_junit(report))
        except BadReport as error:
            reading.note = str(error)
            return reading
        bad = any(one.verdict in (Verdict.FAILED, Verdict.ERROR) for one in reading.outcomes.values())
        # The other way round proves nothing: many a command ends with 0 whatever its tests did.
        if status != 0 and not bad:
            reading.tampered = f"the report has no failure, but the test command ended with exit status {status}"
        reading.complete = not reading.tampered
        return reading
