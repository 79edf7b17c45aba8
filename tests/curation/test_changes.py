"""What differs between two contents of a task, in words and diffs."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from tasks.curation.changes import changes, unified

EMPTY = {
    "title": "Add",
    "instructions": "Make it add.\n",
    "tags": ["a"],
    "environment": {},
    "sensitivity": "unknown",
    "reference_diff": "",
    "tests": [],
    "criteria": [],
}
STORE: dict[str, bytes] = {}


def put(text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()
    STORE[digest] = text.encode()
    return digest


def criterion(key: str, **more):
    return {"key": key, "text": "It adds.", "weight": "1", "kind": "important", "checks": [], "sees": ["diff"], **more}


def test_equal_contents_have_no_changes() -> None:
    assert changes(EMPTY, dict(EMPTY), STORE.__getitem__) == []


def test_changed_instructions_show_their_lines() -> None:
    [change] = changes(EMPTY, EMPTY | {"instructions": "Make it subtract.\n"}, STORE.__getitem__)
    assert (change.field, change.summary) == ("instructions", "+1 \N{MINUS SIGN}1")
    assert "-Make it add.\n+Make it subtract." in change.diff


def test_tests_are_added_removed_and_changed() -> None:
    def test(path: str, text: str):
        return {"path": path, "digest": put(text), "rubric_id": None, "mode": "100644"}

    before = EMPTY | {"tests": [test("a.py", "1\n"), test("b.py", "1\n")]}
    after = EMPTY | {"tests": [test("b.py", "2\n"), test("c.py", "3\n")]}
    said = {change.name: change.summary for change in changes(before, after, STORE.__getitem__)}
    assert said == {"a.py": "removed", "b.py": "+1 \N{MINUS SIGN}1", "c.py": "added"}


def test_criteria_say_what_changed_of_them() -> None:
    before = EMPTY | {"criteria": [criterion("a"), criterion("b")]}
    after = EMPTY | {"criteria": [criterion("b"), criterion("a", weight="3", text="It adds well.")]}
    said = [(change.name, change.summary) for change in changes(before, after, STORE.__getitem__)]
    assert said == [("a", "weight 1 → 3, other words"), ("Rubric", "in another order")]


@given(st.text(alphabet="ab\n", max_size=60), st.text(alphabet="ab\n", max_size=60))
def test_a_difference_is_empty_exactly_when_the_lines_are_equal(before: str, after: str) -> None:
    assert (unified(before, after, "x") == "") == (before.splitlines() == after.splitlines())


@given(
    st.dictionaries(st.sampled_from(["title", "instructions", "sensitivity"]), st.sampled_from(["x\n", "y\n", "z"])),
    st.lists(st.sampled_from("abc"), max_size=3, unique=True),
)
def test_every_changed_field_is_named(values: dict[str, str], tags: list[str]) -> None:
    after = EMPTY | values | {"tags": tags}
    named = {change.field for change in changes(EMPTY, after, STORE.__getitem__)}
    assert named == {field for field in EMPTY if EMPTY[field] != after[field]}
