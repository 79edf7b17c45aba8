"""What stands between a repository and a capture: one issue, and all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]
_ORDER = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True)
class Issue:
    """One thing about a repository. `commands` are what a person may type to mend it; none is ever run by itself."""

    id: str
    severity: Severity
    message: str
    fix_suggestion: str = ""
    commands: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return it with the keys of the MCP tool's answer."""
        return {
            "id": self.id,
            "severity": self.severity,
            "message": self.message,
            "fix_suggestion": self.fix_suggestion,
            "commands": list(self.commands),
        }


@dataclass(frozen=True)
class Readiness:
    """All issues of a repository, errors first."""

    issues: tuple[Issue, ...] = field(default=())

    @classmethod
    def of(cls, issues: Sequence[Issue]) -> Readiness:
        return cls(tuple(sorted(issues, key=lambda issue: _ORDER[issue.severity])))

    @property
    def ok(self) -> bool:
        """Whether a capture may start: there is no error."""
        return not any(issue.severity == "error" for issue in self.issues)

    @property
    def summary(self) -> str:
        """One sentence: ready or not, how many issues, and what the errors are."""
        errors = [issue for issue in self.issues if issue.severity == "error"]
        warnings = sum(issue.severity == "warning" for issue in self.issues)
        noted = f"{warnings} warning{'' if warnings == 1 else 's'}"
        if errors:
            return f"Not ready: {' '.join(issue.message for issue in errors)}" + (f" ({noted})" if warnings else "")
        return f"Ready, with {noted}." if warnings else "Ready."

    def as_dict(self) -> dict[str, Any]:
        """Return what the MCP tool answers: ok, issues, summary."""
        return {"ok": self.ok, "issues": [issue.as_dict() for issue in self.issues], "summary": self.summary}
