"""Writes tasks as the original does, and real repositories for them."""

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

STAMPED = "fix-the-adder_20261120_225428"
COMMIT = "443f425d151673fa1442963161020ab15a4c824f"
TEST = "from adder import add\n\n\ndef test_adds():\n    assert add(1, 2) == 3\n"
DIFF = b"""diff --git a/adder.py b/adder.py
index 3c929be..f083797 100644
--- a/adder.py
+++ b/adder.py
@@ -1,2 +1,2 @@
 def add(a, b):
-    return a - b
+    return a + b
"""
DIFF_WITH_TEST = (
    DIFF
    + b"""diff --git a/tests/test_adder.py b/tests/test_adder.py
new file mode 100644
index 0000000..ace0ed0
--- /dev/null
+++ b/tests/test_adder.py
@@ -0,0 +1,5 @@
"""
    + b"".join(b"+" + line + b"\n" for line in TEST.encode().splitlines())
)

META: dict[str, Any] = {
    "task_id": STAMPED,
    "metadata": {"title": "Fix the adder!", "tags": ["py", "completed", "bugfix"]},
    "repo": {
        "git_url": "git@example.org:acme/widget.git",
        "branch": "main",
        "start_commit_sha": COMMIT,
        "end_commit_sha": "9aa285005e9e35ccd8cc2f38a733074e89a6ff3e",
        "subdir": "",
        "sparse_checkout": [],
    },
    "lm": {"instructions": "add returns the difference."},
    "evaluation": {"content_rubric": [], "location_rubric": [], "clarity_rubric": []},
    "sensitivity": {"level": "unknown"},
}

EVALUATION: dict[str, Any] = {
    "rubrics": [
        {"id": "behaviour", "criterion": "It adds.", "weight": 0.6, "evaluation_criteria": ["1 + 2 is 3"]},
        {"id": "style", "criterion": "It is short.", "weight": 0.4},
    ],
    "test_scripts": [{"path": "tests/test_adder.py", "rubric_id": "behaviour", "content": TEST}],
}


def meta_with(changes: dict[str, Any]) -> dict[str, Any]:
    """Return the usual metadata with dotted keys set, such as {"repo.branch": "dev"}; ... removes a key."""
    meta = copy.deepcopy(META)
    for path, value in changes.items():
        *above, last = path.split(".")
        at = meta
        for key in above:
            at = at.setdefault(key, {})
        if value is ...:
            at.pop(last, None)
        else:
            at[last] = value
    return meta


def write_task(
    directory: Path,
    changes: dict[str, Any] | None = None,
    *,
    meta: Any = None,
    layout: str = "created",
    instructions: str | None = "# Task: Fix the adder!\n\nadd returns the difference. Make it return the sum.",
    diff: bytes | None = DIFF,
    files: dict[str, str | bytes] | None = None,
) -> Path:
    """Write a task and return its directory. Layouts: created, overlay (as the guides show it), prepared."""
    meta = meta if meta is not None else meta_with(changes or {})
    info = {"remote_urls": ["git@example.org:acme/widget.git"], "branch": "main", "start_commit": COMMIT}
    inner: dict[str, str | bytes] = {"repo_info.json": json.dumps(info), "notes.md": "# Notes\n"}
    if instructions is not None:
        inner["LM_INSTRUCTIONS.md"] = instructions
    if diff is not None:
        inner["diff.patch"] = diff
    text = meta if isinstance(meta, str | bytes) else json.dumps(meta)
    below = "" if layout == "created" else "overlay_files/"
    everything: dict[str, str | bytes] = {below + name: content for name, content in inner.items()}
    everything[below + "tb_meta.json"] = text
    if layout == "created":
        everything |= {"trace/session_id.txt": "session_1\n", "evaluation/rubric_template.md": "# Evaluation Rubric\n"}
    if layout == "prepared":
        everything |= {"tb_meta.json": text, "Dockerfile": "FROM ubuntu\nCOPY codex-files/ /x\nCMD box_bootstrap.sh\n"}
        (directory / "overlay_repo_files").mkdir(parents=True)
    for name, content in (everything | (files or {})).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return directory


def git(directory: Path, *arguments: str) -> str:
    """Run git in a repository of the test and return what it prints."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    done = subprocess.run(["git", *identity, *arguments], cwd=directory, capture_output=True, check=True, text=True)
    return done.stdout.strip()


def make_repository(directory: Path, files: dict[str, str], branch: str = "main") -> str:
    """Make a repository with one commit and return its id."""
    directory.mkdir(parents=True, exist_ok=True)
    git(directory, "init", "-q", "-b", branch)
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(content)
    git(directory, "add", "-A")
    git(directory, "commit", "-q", "-m", "base")
    return git(directory, "rev-parse", "HEAD")
