"""Changing a draft: claims, conflicts, undo."""

from datetime import timedelta

import pytest
from django.utils import timezone

from oneshot import store
from oneshot.accounts.models import Team, User
from tasks.curation import claims
from tasks.curation.editing import EditConflict, edit, is_changed, open_draft, undo
from tasks.models import CurationDraft, Task
from tests.builders import make_task, make_team, make_user, make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def mira() -> User:
    return make_user("mira")


@pytest.fixture
def jonas() -> User:
    return make_user("jonas")


@pytest.fixture
def task(mira: User, jonas: User) -> Task:
    team: Team = make_team(owner=mira, curator=jonas)
    return make_task(team=team)


def leave(task: Task) -> None:
    """Let the claim on a task run out."""
    Task.objects.filter(pk=task.pk).update(claimed_at=timezone.now() - claims.CLAIM - timedelta(seconds=1))


def test_an_edit_changes_the_draft_and_no_version(task: Task, mira: User) -> None:
    draft = open_draft(task)
    assert not is_changed(draft)
    made = edit(draft, "instructions", "Make `add` add numbers.", seen=0, by=mira)
    draft.refresh_from_db()
    assert made is not None
    assert (made.before(), made.after()) == ("Make `add` add.", "Make `add` add numbers.")
    assert draft.content["instructions"] == "Make `add` add numbers."
    assert draft.revision == 1
    assert is_changed(draft)
    assert task.versions.get().instructions == "Make `add` add."


def test_the_same_value_again_is_no_edit(task: Task, mira: User) -> None:
    draft = open_draft(task)
    assert edit(draft, "title", task.title, seen=0, by=mira) is None
    assert not draft.edits.exists()


def test_a_second_person_is_told_who_has_the_task_and_keeps_their_text(task: Task, mira: User, jonas: User) -> None:
    draft = open_draft(task)
    edit(draft, "instructions", "Mine.", seen=0, by=mira)
    with pytest.raises(EditConflict, match="mira has this task now") as caught:
        edit(draft, "instructions", "Ours.", seen=1, by=jonas)
    assert (caught.value.mine, caught.value.theirs, caught.value.holder) == ("Ours.", "Mine.", mira)


def test_two_people_never_overwrite_the_same_field(task: Task, mira: User, jonas: User) -> None:
    draft = open_draft(task)
    edit(draft, "instructions", "Mine.", seen=0, by=mira)
    leave(task)
    with pytest.raises(EditConflict, match="mira changed the instructions while you did") as caught:
        edit(draft, "instructions", "Ours.", seen=0, by=jonas)
    assert (caught.value.mine, caught.value.theirs) == ("Ours.", "Mine.")
    draft.refresh_from_db()
    assert draft.content["instructions"] == "Mine."


def test_different_fields_changed_by_two_people_are_both_kept(task: Task, mira: User, jonas: User) -> None:
    draft = open_draft(task)
    edit(draft, "instructions", "Mine.", seen=0, by=mira)
    leave(task)
    edit(draft, "title", "A better title", seen=0, by=jonas)
    draft.refresh_from_db()
    assert (draft.content["instructions"], draft.content["title"]) == ("Mine.", "A better title")


def test_undo_takes_back_ones_own_edits_one_by_one(task: Task, mira: User) -> None:
    draft = open_draft(task)
    for number, text in enumerate(("One.", "Two.")):
        edit(draft, "instructions", text, seen=number, by=mira)
    values = []
    while undo(draft, by=mira):
        draft.refresh_from_db()
        values.append(draft.content["instructions"])
    assert values == ["One.", "Make `add` add."]
    assert draft.edits.count() == 4
    assert not is_changed(draft)


def test_what_someone_changed_since_cannot_be_taken_back(task: Task, mira: User, jonas: User) -> None:
    draft = open_draft(task)
    edit(draft, "instructions", "One.", seen=0, by=mira)
    leave(task)
    edit(draft, "instructions", "Two.", seen=1, by=jonas)
    leave(task)
    with pytest.raises(EditConflict, match="changed after your edit"):
        undo(draft, by=mira)


def test_an_unchanged_draft_follows_a_newer_version_and_a_changed_one_stays(task: Task, mira: User) -> None:
    draft = open_draft(task)
    newer = make_version(task, instructions="From another import.")
    assert open_draft(task).base_version == newer
    edit(draft, "instructions", "Mine.", seen=0, by=mira)
    make_version(task, instructions="And another.")
    kept = open_draft(task)
    assert (kept.base_version, kept.content["instructions"]) == (newer, "Mine.")


def test_taking_up_what_was_captured_is_a_decision_with_a_name(task: Task, mira: User) -> None:
    Task.objects.filter(pk=task.pk).update(state="captured")
    edit(open_draft(task), "title", "Better", seen=0, by=mira)
    task.refresh_from_db()
    review = task.reviews.get()
    assert task.state == "draft"
    assert (review.from_state, review.to_state, review.by) == ("captured", "draft", mira)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("title", "", "one line"),
        ("instructions", "a\0b", "must be a text"),
        ("tests", [{"path": "../x", "digest": ""}], "no path inside the repository"),
        ("tests", [{"path": ".git/hooks/x", "digest": ""}], "no path inside the repository"),
        ("environment", {"nonsense": 1}, "no such field"),
        ("criteria", [{"text": "  "}], "Criterion 1 has no text"),
        ("criteria", [{"text": "a", "weight": "NaN"}], "weight of criterion 1"),
        ("reference_diff", "0" * 64, "must be stored"),
        ("secret", 1, "no field"),
    ],
)
def test_a_value_that_a_field_cannot_have_is_refused(task: Task, mira: User, field: str, value, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        edit(open_draft(task), field, value, seen=0, by=mira)
    assert CurationDraft.objects.get().revision == 0


def test_a_reference_that_is_no_patch_is_refused(task: Task, mira: User) -> None:
    with pytest.raises(ValueError, match=r".+"):
        edit(open_draft(task), "reference_diff", store.put(b"hello\n"), seen=0, by=mira)


def test_a_task_is_free_again_when_nothing_changes_for_a_while(task: Task, mira: User, jonas: User) -> None:
    assert claims.claim(task, mira)
    assert not claims.claim(task, jonas)
    assert claims.holder(task) == mira
    leave(task)
    assert claims.claim(task, jonas)
    assert claims.holder(task) == jonas
    claims.release(task, mira)
    assert claims.holder(task) == jonas
    claims.release(task, jonas)
    assert claims.holder(task) is None
