"""What a curator may change of a task: the fields of a draft, what each may be, and how they become a version."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from oneshot import store
from tasks import environment
from tasks.formats.base import DraftCriterion, DraftFile, TaskDraft
from tasks.models import Criterion, Rubric, TaskVersion, default_evidence
from tasks.patches import check_patch
from tasks.problems import Problem, shown

Content = dict[str, Any]

MAX_TITLE = 300
MAX_INSTRUCTIONS = 200_000
MAX_DIFF = 20_000_000
MAX_TESTS = 500
MAX_CRITERIA = 60
SENSITIVITIES = ("unknown", "safe", "sensitive")
EVIDENCE = ("diff", "tests", "trajectory", "final_message")


def content_of(version: TaskVersion, rubric: Rubric | None) -> Content:
    """Return a version and a rubric as the fields of a draft."""
    return {
        "title": version.title,
        "instructions": version.instructions,
        "tags": list(version.task.tags),
        "environment": version.environment,
        "sensitivity": version.sensitivity,
        "reference_diff": version.reference_diff_digest,
        "tests": [dict(test) for test in version.hidden_tests],
        "criteria": [criterion_of(row) for row in rubric.criteria.all()] if rubric else [],
    }


def criterion_of(row: Criterion) -> dict[str, Any]:
    """Return a criterion as it stands in a draft."""
    return {
        "key": row.key,
        "text": row.text,
        "weight": f"{row.weight.normalize():f}",
        "kind": row.kind,
        "checks": list(row.checks),
        "sees": list(row.sees),
    }


def checked(field: str, value: Any) -> Any:
    """Return the value of a draft's field as it is kept. Raises ValueError with what it must be."""
    if field not in FIELDS:
        raise ValueError(f"There is no field {shown(field)!r} in a draft.")
    return FIELDS[field](value)


def _title(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_TITLE or "\n" in value:
        raise ValueError(f"The title must be one line of at most {MAX_TITLE} characters.")
    return value.strip()


def _instructions(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("The instructions must be a text.")
    if len(value) > MAX_INSTRUCTIONS:
        raise ValueError(f"The instructions may have {MAX_INSTRUCTIONS:,} characters.")
    return value.replace("\r\n", "\n")


def _tags(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(tag, str) and tag.strip() and len(tag) <= 50 for tag in value):
        raise ValueError("Tags must be a list of words of at most 50 characters.")
    return list(dict.fromkeys(tag.strip() for tag in value))


def _environment(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("The environment must be a table.")
    problems: list[Problem] = environment.problems(value)
    if problems:
        raise ValueError(" ".join(f"{problem.field}: {problem.message}" for problem in problems[:3]))
    return value


def _sensitivity(value: Any) -> str:
    if value not in SENSITIVITIES:
        raise ValueError(f"The sensitivity must be one of {', '.join(SENSITIVITIES)}.")
    return str(value)


def _reference(value: Any) -> str:
    """A digest of the content store, whose content must be a patch; "" for none."""
    if not isinstance(value, str) or (value and not store.has(value)):
        raise ValueError("The reference diff must be stored before it is named.")
    if not value:
        return ""
    data = store.get(value)
    if len(data) > MAX_DIFF:
        raise ValueError(f"The reference diff may have {MAX_DIFF:,} bytes.")
    if problems := check_patch(data):
        raise ValueError(problems[0].message)
    return value


def _tests(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or len(value) > MAX_TESTS:
        raise ValueError(f"The tests must be a list of at most {MAX_TESTS} files.")
    kept = []
    for test in value:
        path = test.get("path") if isinstance(test, dict) else None
        if not isinstance(path, str) or not _is_inside(path):
            raise ValueError(f"{shown(str(path))!r} is no path inside the repository.")
        if not isinstance(test.get("digest"), str) or not store.has(test["digest"]):
            raise ValueError(f"The content of {shown(path)} is not stored.")
        kept.append(
            {
                "path": path,
                "digest": test["digest"],
                "rubric_id": test.get("rubric_id") or None,
                "mode": "100755" if test.get("mode") == "100755" else "100644",
            }
        )
    if len({test["path"] for test in kept}) < len(kept):
        raise ValueError("Two tests have the same path.")
    return sorted(kept, key=lambda test: test["path"])


def _is_inside(path: str) -> bool:
    parts = path.split("/")
    return bool(path) and path.isprintable() and not any(part in ("", ".", "..", ".git") for part in parts)


def _criteria(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or len(value) > MAX_CRITERIA:
        raise ValueError(f"A rubric may have {MAX_CRITERIA} criteria.")
    kept = [_criterion(given, number) for number, given in enumerate(value, 1)]
    if len({criterion["key"] for criterion in kept}) < len(kept):
        raise ValueError("Two criteria have the same key.")
    return kept


def _criterion(given: Any, number: int) -> dict[str, Any]:
    if not isinstance(given, dict) or not isinstance(given.get("text"), str) or not given["text"].strip():
        raise ValueError(f"Criterion {number} has no text.")
    try:
        weight = Decimal(str(given.get("weight", "1")))
    except InvalidOperation:
        weight = Decimal("NaN")
    if not weight.is_finite() or not 0 <= weight <= 9999:
        raise ValueError(f"The weight of criterion {number} must be a number from 0 to 9999.")
    kind = given.get("kind", Criterion.Kind.IMPORTANT)
    if kind not in Criterion.Kind.values:
        raise ValueError(f"The kind of criterion {number} must be one of {', '.join(Criterion.Kind.values)}.")
    sees = [name for name in EVIDENCE if name in (given.get("sees") or ["diff", "tests"])]
    checks = [str(check).strip()[:1000] for check in given.get("checks") or [] if str(check).strip()]
    return {
        "key": str(given.get("key") or f"criterion-{number}")[:100],
        "text": given["text"].strip()[:5000],
        "weight": f"{weight.quantize(Decimal('0.0001')).normalize():f}",
        "kind": kind,
        "checks": checks,
        "sees": sees or ["diff", "tests"],
    }


FIELDS: dict[str, Callable[[Any], Any]] = {
    "title": _title,
    "instructions": _instructions,
    "tags": _tags,
    "environment": _environment,
    "sensitivity": _sensitivity,
    "reference_diff": _reference,
    "tests": _tests,
    "criteria": _criteria,
}

# What agents and graders get to see; title, tags and sensitivity belong to the task and need no new version.
VERSIONED = ("instructions", "environment", "reference_diff", "tests")


def as_task_draft(content: Content, base: TaskVersion) -> TaskDraft:
    """Return the content as an import would have read it, so that both are told apart by the same digests."""
    return TaskDraft(
        title=content["title"],
        instructions=content["instructions"],
        repo=base.repo,
        address=str(base.repo.get("git_url", "")),
        reference_diff=store.get(content["reference_diff"]) if content["reference_diff"] else b"",
        environment=content["environment"],
        tests=[
            DraftFile(path=test["path"], content=store.get(test["digest"]), rubric_id=test.get("rubric_id"))
            for test in content["tests"]
            if not test["path"].endswith("/")
        ],
        overlay=[
            DraftFile(path=file["path"], content=store.get(file["digest"]), mode=str(file.get("mode", "100644")))
            for file in base.overlay_files
        ],
        criteria=[
            DraftCriterion(
                key=criterion["key"],
                text=criterion["text"],
                weight=Decimal(criterion["weight"]),
                kind=criterion["kind"],
                checks=tuple(criterion["checks"]),
                sees=() if criterion["sees"] == default_evidence() else tuple(criterion["sees"]),
            )
            for criterion in content["criteria"]
        ],
        tags=content["tags"],
        sensitivity=content["sensitivity"],
    )
