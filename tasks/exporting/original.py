"""What the original's own tools make of an exported task, so that nobody is surprised by it."""

from __future__ import annotations

import re
from typing import Any

GITHUB = re.compile(r"(?:https://github\.com/|git@github\.com:)[^/\s]+/[^/\s]+")


def prepared_name(task_id: str) -> str:
    """Return the directory that `prepare` makes of a task id: all but its last two parts between underscores."""
    return task_id.rsplit("_", 2)[0]


def remarks(meta: dict[str, Any]) -> list[str]:
    """Return in sentences what the original refuses or does differently with this task; [] for nothing."""
    said = []
    url = str(meta["repo"]["git_url"])
    if not GITHUB.match(url):
        said.append("Its `prepare` takes repositories on github.com only, so that it refuses this one.")
    if not meta["metadata"]["title"]:
        said.append("Its `prepare` needs a title.")
    if not prepared_name(str(meta["task_id"])):
        said.append("Its `prepare` finds no name in the task id.")
    rubrics, tests = meta["evaluation"]["rubrics"], meta["evaluation"]["test_scripts"]
    if not rubrics or not tests:
        missing = "rubric" if not rubrics else "test scripts"
        said.append(f"The task has no {missing}; its `prepare` may put a default evaluation in place of this one.")
    if unnamed := [test["path"] for test in tests if not test.get("rubric_id")]:
        said.append(f"It counts a test only for a rubric that the test names; {len(unnamed)} name none.")
    if others := [test["path"] for test in tests if not test["path"].endswith(".py")]:
        said.append(f"It runs every test script with pytest, which {others[0]} is not made for.")
    if any("content" not in test for test in tests):
        said.append("It cannot read test files that are not text; they lie beside the metadata.")
    return said
