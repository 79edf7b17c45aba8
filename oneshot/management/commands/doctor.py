"""Says what works here, and the mend for what doesn't."""

from typing import Any

from oneshot import doctor
from oneshot.management.base import OneShotCommand

MARKS = {"ok": "ok  ", "warn": "warn", "bad": "BAD "}


class Command(OneShotCommand):
    help = (
        "Look at this machine: database, Redis, sandboxes, agents, keys. Exit status 1 when something must be mended."
    )
    example = "oneshot doctor"
    prints_json = True
    requires_database = False

    def run(self, **options: Any) -> int:
        findings = []
        for finding in doctor.examine():
            findings.append(finding)
            if not self.as_json:
                self.stdout.write(f"{MARKS[finding.state]}  {finding.name}: {finding.found}")
                if finding.mend:
                    self.stdout.write(f"      {finding.mend}")
        if self.as_json:
            self.emit({"findings": [finding.as_dict() for finding in findings]})
        return int(any(finding.state == "bad" for finding in findings))
