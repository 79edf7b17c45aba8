"""Findings of a draft: found, mended in place, fixed by themselves, waived for good."""

import pytest

from oneshot import store
from oneshot.accounts.models import User
from tasks.curation.editing import edit, open_draft
from tasks.curation.publishing import waive
from tasks.findings.licences import licence_of
from tasks.findings.mending import CannotMend, mend
from tasks.findings.scan import rescan
from tasks.models import Finding, Task
from tests.builders import make_task, make_team, make_user

pytestmark = pytest.mark.django_db

SECRET = "xox" + "b-2345678901-" + "AbCdEfGhIjKlMnOpQrStUvWx"


@pytest.fixture
def mira() -> User:
    return make_user("mira")


@pytest.fixture
def task(mira: User) -> Task:
    tests = [{"path": "tests/test_it.py", "digest": store.put_text("def test_it(): pass\n"), "rubric_id": None}]
    return make_task(
        team=make_team(owner=mira),
        version={"hidden_tests": tests, "instructions": "Make the function add its two numbers."},
    )


def write(task: Task, field: str, value) -> None:
    draft = open_draft(task)
    edit(draft, field, value, seen=draft.revision, by=task.team.memberships.get().user)


def kinds(task: Task) -> list[str]:
    return sorted(finding.kind for finding in rescan(open_draft(task)))


def test_a_clean_draft_has_no_findings(task: Task) -> None:
    assert kinds(task) == []


def test_a_finding_is_fixed_by_itself_when_its_text_goes_and_opens_again_when_it_returns(task: Task) -> None:
    write(task, "instructions", f"Use {SECRET} to log in, and add up.")
    assert kinds(task) == ["secret"]
    write(task, "instructions", "Log in, and then add the numbers up.")
    assert kinds(task) == []
    assert Finding.objects.get().status == "fixed"
    write(task, "instructions", f"Then use {SECRET} to log in, and add up.")
    assert kinds(task) == ["secret"]
    assert Finding.objects.count() == 1


def test_a_waiver_stays_with_its_text(task: Task, mira: User) -> None:
    write(task, "instructions", "Ask t.brandt@ledgerline.io before you add the numbers.")
    [finding] = rescan(open_draft(task))
    waive(finding, by=mira, reason="A role account.")
    write(task, "instructions", "First: ask t.brandt@ledgerline.io before you add the numbers.")
    assert kinds(task) == []
    assert Finding.objects.get().status == "waived"


def test_a_secret_in_the_instructions_is_redacted_everywhere_in_them(task: Task, mira: User) -> None:
    write(task, "instructions", f"Use {SECRET}. I said {SECRET}, to add the numbers.")
    draft = open_draft(task)
    [finding] = rescan(draft)
    mend(draft, finding, by=mira)
    assert open_draft(task).content["instructions"] == "Use [redacted]. I said [redacted], to add the numbers."
    assert kinds(task) == []


def test_a_secret_in_a_test_is_redacted_in_that_test(task: Task, mira: User) -> None:
    tests = [{"path": "tests/test_it.py", "digest": store.put_text(f"KEY = '{SECRET}'\n"), "rubric_id": None}]
    write(task, "tests", tests)
    draft = open_draft(task)
    [finding] = rescan(draft)
    mend(draft, finding, by=mira)
    [test] = open_draft(task).content["tests"]
    assert store.get_text(test["digest"]) == "KEY = '[redacted]'\n"


def test_the_sentence_with_the_answer_is_cut_and_the_rest_stays(task: Task, mira: User) -> None:
    words = "one two three four five six seven eight nine"
    diff = f"diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-x\n+{words}\n"
    write(task, "reference_diff", store.put_text(diff))
    write(task, "instructions", "Mend it first. Use one two three four five six seven eight. Then test it well.\n")
    draft = open_draft(task)
    [finding] = [one for one in rescan(draft) if one.kind == "leak"]
    mend(draft, finding, by=mira)
    assert open_draft(task).content["instructions"] == "Mend it first. Then test it well.\n"


def test_what_a_button_cannot_mend_says_what_to_do(task: Task, mira: User) -> None:
    diff = f"diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-x\n+key = '{SECRET}'\n"
    write(task, "reference_diff", store.put_text(diff))
    draft = open_draft(task)
    [finding] = rescan(draft)
    with pytest.raises(CannotMend, match="Take it out of the repository's files"):
        mend(draft, finding, by=mira)


def test_a_public_task_that_is_sensitive_is_blocked(task: Task) -> None:
    Task.objects.filter(pk=task.pk).update(visibility="public")
    write(task, "sensitivity", "sensitive")
    [finding] = rescan(open_draft(task))
    assert (finding.kind, finding.severity) == ("visibility", "block")


def test_a_task_without_tests_or_instructions_is_worth_a_look(task: Task) -> None:
    write(task, "tests", [])
    write(task, "instructions", "Mend it.")
    assert kinds(task) == ["quality", "quality"]


@pytest.mark.parametrize(
    ("files", "licence"),
    [
        ({}, ""),
        ({"a.py": b""}, ""),
        ({"LICENSE": b"Permission is hereby granted, free of charge, to any person obtaining a copy"}, "MIT"),
        ({"LICENSE.txt": b"Apache License\n  Version 2.0, January 2004"}, "Apache-2.0"),
        ({"COPYING": b"GNU AFFERO GENERAL PUBLIC LICENSE"}, "AGPL-3.0"),
        ({"LICENSE": b"All rights reserved."}, "other"),
        ({"vendor/deep/LICENSE": b"Permission is hereby granted, free of charge, to any person obtaining a copy"}, ""),
    ],
)
def test_a_licence_is_read_from_the_file_nearest_to_the_top(files: dict[str, bytes], licence: str) -> None:
    assert licence_of(files, files.__getitem__) == licence
