"""Oracle and nop, by which a task is measured."""

import subprocess
from pathlib import Path

import pytest

from runs import agents
from runs.agents.base import Assignment
from runs.errors import TaskError


def run(kind, sandbox, log, reference=b""):
    assignment = Assignment(instructions="Mend add.", reference_diff=reference, timeout_s=10)
    return agents.load_by_kind(kind).run(sandbox, assignment, log)


def change(sandbox, *git):
    """Make the reference in the sandbox's own repository, and take it back."""

    def call(*arguments):
        names = ["-c", "user.name=a", "-c", "user.email=a@localhost"]
        return subprocess.run(["git", *names, *arguments], cwd=sandbox.workdir, check=True, capture_output=True).stdout

    work = Path(sandbox.workdir)
    (work / "calc.py").write_text("def add(a, b): return a+b\n")
    call("commit", "-qam", "first")
    (work / "calc.py").write_text("def add(a, b): return b+a\n")
    (work / "logo.bin").write_bytes(bytes(range(256)))
    call("add", "-A")
    call("commit", "-qm", "second")
    reference = call(*git)
    call("reset", "-q", "--hard", "HEAD~2")
    return reference


@pytest.mark.parametrize(
    "git", [("diff", "--binary", "HEAD~2"), ("format-patch", "--stdout", "--binary", "HEAD~2")], ids=["diff", "mailbox"]
)
def test_the_oracle_applies_a_diff_or_a_mailbox_of_them(sandbox, log, git):
    reference = change(sandbox, *git)
    assert run("oracle", sandbox, log, reference).exit_code == 0
    assert "+def add(a, b): return b+a" in sandbox.diff()
    assert Path(sandbox.workdir, "logo.bin").read_bytes() == bytes(range(256))
    # Neither the home nor the repository holds the reference itself.
    assert not [path for path in Path(sandbox.home).rglob("*") if path.is_file()]


def test_a_reference_that_does_not_apply_is_the_tasks_fault_in_gits_words(sandbox, log):
    reference = change(sandbox, "diff", "HEAD~2").replace(b"-def add(a, b): return a-b", b"-def other(): pass")
    with pytest.raises(TaskError, match=r"does not apply to the base[\s\S]*calc.py"):
        run("oracle", sandbox, log, reference)


def test_a_task_without_a_reference_has_no_oracle(sandbox, log):
    with pytest.raises(TaskError, match="no reference diff"):
        run("oracle", sandbox, log)


def test_nop_changes_nothing(sandbox, log):
    assert run("nop", sandbox, log).exit_code == 0
    assert sandbox.diff() == ""
