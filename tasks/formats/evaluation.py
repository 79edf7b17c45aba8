"""How a task is judged, as its metadata says: the rubric's criteria and the hidden test files."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from difflib import get_close_matches

from tasks.formats.base import DraftCriterion, DraftFile
from tasks.formats.fields import Fields
from tasks.formats.files import TaskFiles, Unreadable
from tasks.patches import unsafe_path
from tasks.problems import shown

EVIDENCE = ("diff", "tests", "trajectory", "final_message")
KINDS = ("essential", "important", "optional", "pitfall")
MAX_WEIGHT = 9999
MAX_TEST_BYTES = 8_000_000
NOT_USED = ("script", "cases_file", "container_tracing")
OLD_RUBRICS = ("content_rubric", "location_rubric", "clarity_rubric")


def read_evaluation(evaluation: Fields, files: TaskFiles) -> None:
    """Put the criteria and tests of an `evaluation` object into its draft, with every fault found."""
    draft = evaluation.draft
    draft.criteria = _criteria(evaluation)
    draft.tests = _tests(evaluation, files, {criterion.key for criterion in draft.criteria})
    for key in NOT_USED:
        if evaluation.data.get(key):
            evaluation.note(key, "It is not used. Put tests into test_scripts, and commands into environment.")
    for key in OLD_RUBRICS:
        if evaluation.data.get(key):
            evaluation.note(key, "It is the old form of a rubric and is left out. Write its items into rubrics.")


def _criteria(evaluation: Fields) -> list[DraftCriterion]:
    found: list[DraftCriterion] = []
    keys: set[str] = set()
    for position, rubric in enumerate(evaluation.objects("rubrics"), start=1):
        key = rubric.text("id", "key", most=100).strip()
        if not key and not rubric.data.get("id"):
            key = f"criterion-{position}"
            rubric.note("id", f"It has no id; {key} is taken.")
        text = rubric.text("criterion", "text").strip()
        if not text and not rubric.data.get("criterion"):
            rubric.refuse("criterion", "A rubric needs the sentence that a judge answers. Write one.")
        if key in keys:
            rubric.refuse("id", "Another rubric has the same id. Give each its own.")
        keys.add(key)
        criterion = DraftCriterion(
            key=key,
            text=text,
            weight=_weight(rubric),
            kind=_kind(rubric),
            checks=tuple(rubric.texts("evaluation_criteria") or rubric.texts("checks")),
            sees=_evidence(rubric),
        )
        found.append(criterion)
    return found


def _evidence(rubric: Fields) -> tuple[str, ...]:
    seen = tuple(rubric.texts("sees"))
    if unknown := [item for item in seen if item not in EVIDENCE]:
        rubric.refuse("sees", f"{shown(unknown[0])} is nothing that a judge sees. Choose from {', '.join(EVIDENCE)}.")
        return ()
    return seen


def _weight(rubric: Fields) -> Decimal:
    value = rubric.data.get("weight")
    if value is None:
        rubric.note("weight", "It has no weight; 1.0 is taken, which is an equal share where no rubric has one.")
        return Decimal(1)
    if isinstance(value, bool) or not isinstance(value, int | float):
        rubric.refuse("weight", "A weight is a number, such as 0.4.")
    elif not math.isfinite(value) or not 0 <= value <= MAX_WEIGHT:
        rubric.refuse("weight", f"A weight lies between 0 and {MAX_WEIGHT}.")
    else:
        return Decimal(str(value)).quantize(Decimal("0.0001"))
    return Decimal(1)


def _kind(rubric: Fields) -> str:
    kind = rubric.text("kind", most=100).strip().lower() or "important"
    if kind not in KINDS:
        near = get_close_matches(kind, KINDS, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        rubric.refuse("kind", f"A kind is one of {', '.join(KINDS)}.{hint}")
        return "important"
    return kind


def _tests(evaluation: Fields, files: TaskFiles, criteria: set[str]) -> list[DraftFile]:
    found: dict[str, DraftFile] = {}
    placeholders = evaluation.draft.provenance.setdefault("placeholder_tests", [])
    for script in evaluation.objects("test_scripts"):
        path = script.text("path", most=1000).strip().removeprefix("./")
        content = _content(script, files)
        if not path and not script.data.get("path"):
            script.refuse("path", "A test needs a path in the repository, such as tests/test_fix.py.")
        why = "holds a backslash" if "\\" in path else unsafe_path(path) if path else ""
        if why:
            script.refuse("path", f"The path {why}. Write one relative to the repository, such as tests/test_fix.py.")
        if path in found:
            script.refuse("path", "Another test has the same path. Keep one of them.")
        if content is None or not path or why:
            continue
        if is_placeholder(content):
            placeholders.append(path)
            script.note("path", "placeholder test of the original: left out")
            continue
        rubric_id = script.text("rubric_id", most=100).strip() or None
        if rubric_id and rubric_id not in criteria:
            script.note("rubric_id", "No rubric has this id; the test counts all the same.")
        found[path] = DraftFile(path=path, content=content, rubric_id=rubric_id)
    _check_nesting(evaluation, list(found))
    if not placeholders:
        del evaluation.draft.provenance["placeholder_tests"]
    return [found[path] for path in sorted(found)]


def _content(script: Fields, files: TaskFiles) -> bytes | None:
    """Return what a test file holds, as text in the metadata or as a file of the task; None after a problem."""
    before = len(script.draft.problems)
    if script.data.get("content") is not None:
        content = script.text("content", most=MAX_TEST_BYTES).encode()
    elif path := script.text("file", most=1000).strip().removeprefix("./"):
        content = _file(script, files, path)
    else:
        content = b""
        if len(script.draft.problems) == before:
            script.refuse("content", "A test needs its text. Put it here, or name a file of the task as file.")
    return content if len(script.draft.problems) == before else None


def _file(script: Fields, files: TaskFiles, path: str) -> bytes:
    why = "holds a backslash" if "\\" in path else unsafe_path(path)
    if why:
        script.refuse("file", f"The path {why}. Name a file in the task's directory, such as evaluation/test_fix.py.")
    elif files.kind(path) == "":
        script.refuse("file", "There is no such file in the task's directory.")
    else:
        try:
            return files.read(path, most=MAX_TEST_BYTES)
        except Unreadable as error:
            script.draft.problems.append(error.problem)
    return b""


def _check_nesting(evaluation: Fields, paths: list[str]) -> None:
    """Refuse a file below a path that is a file itself: only one of the two could be written."""
    for path in paths:
        above = next((other for other in paths if path.startswith(other + "/")), None)
        if above:
            message = f"{shown(above)} is a test file, so nothing can lie below it. Rename one of them."
            evaluation.draft.refuse(evaluation.file, evaluation.place("test_scripts"), shown(path), message)


def is_placeholder(content: bytes) -> bool:
    """Return whether this is one of the two tests that the original puts into tasks without any.

    They look at staged files and at error words in another test's output, and so pass or fail whatever the agent
    did; they are told by what they do, so that a real test under their name stays.
    """
    functions = re.findall(rb"^\s*(?:async\s+)?def\s+(test\w*)", content, re.MULTILINE)
    if functions == [b"test_changes_were_made"]:
        return b"--cached" in content and b"--name-only" in content
    if functions == [b"test_tests_can_run"]:
        return b"SyntaxError" in content and b"pytest" in content and b"os.walk" in content
    return False


def read_overlay_texts(fields: Fields, key: str) -> list[DraftFile]:
    """Return the files of an object {path: text}, as overrides give them."""
    found = []
    files = fields.object(key)
    for path in files.data:
        text = files.text(path)
        why = "holds a backslash" if "\\" in path else unsafe_path(path)
        if why:
            files.draft.refuse(
                files.file, files.place(shown(path)), "", f"The path {why}. Name a file in the repository."
            )
        else:
            found.append(DraftFile(path=path, content=text.encode()))
    return found
