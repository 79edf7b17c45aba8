"""From a draft to a version, and to a published task."""

import pytest

from oneshot.accounts.models import User
from tasks.curation.editing import edit, open_draft
from tasks.curation.publishing import blockers, freeze, publish, waive
from tasks.curation.states import NotAllowed, move, moves_for
from tasks.models import Finding, Task, TaskVersion
from tests.builders import make_task, make_team, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> User:
    return make_user("mira")


@pytest.fixture
def curator() -> User:
    return make_user("jonas")


@pytest.fixture
def task(owner: User, curator: User) -> Task:
    return make_task(team=make_team(owner=owner, curator=curator))


def validated(task: Task) -> TaskVersion:
    version = task.versions.order_by("-number").first()
    assert version is not None
    version.record_validation(valid=True, reason="", fail_to_pass=["a::b"], pass_to_pass=[], excluded=[], checks=[])
    return version


def found(task: Task, **fields) -> Finding:
    values = {
        "kind": "validation",
        "severity": "block",
        "fingerprint": "f",
        "title": "The answer",
        "message": "Cut it.",
    }
    return Finding.objects.create(task=task, **values | fields)


def test_freezing_an_unchanged_draft_makes_no_version(task: Task, owner: User) -> None:
    assert freeze(task, by=owner) == task.current_version
    assert task.versions.count() == 1


def test_freezing_makes_the_next_version_on_the_same_base(task: Task, owner: User) -> None:
    first = task.versions.get()
    TaskVersion.objects.filter(pk=first.pk).update(snapshot_digest="5" * 64, snapshot_commit="6" * 40)
    edit(open_draft(task), "instructions", "Say more.", seen=0, by=owner)
    second = freeze(task, by=owner)
    assert (second.number, second.instructions, second.created_by) == (2, "Say more.", owner)
    assert (second.snapshot_digest, second.snapshot_commit) == ("5" * 64, "6" * 40)
    first.refresh_from_db()
    assert first.instructions == "Make `add` add."
    task.refresh_from_db()
    assert task.current_version == second
    assert freeze(task, by=owner) == second


def test_a_published_task_shows_what_was_published_until_the_next_publication(task: Task, owner: User) -> None:
    validated(task)
    publish(task, by=owner)
    edit(open_draft(task), "instructions", "Say more.", seen=0, by=owner)
    second = freeze(task, by=owner)
    task.refresh_from_db()
    assert task.current_version is not None
    assert task.current_version.number == 1
    with pytest.raises(NotAllowed, match="has not been validated"):
        publish(task, by=owner)
    validated(task)
    review = publish(task, by=owner, reason="clearer")
    task.refresh_from_db()
    assert task.current_version == second
    assert second == review.version
    assert [r.to_state for r in task.reviews.all()] == ["published", "published"]


def test_a_rubric_is_versioned_apart_from_the_task(task: Task, owner: User) -> None:
    edit(open_draft(task), "criteria", [{"key": "adds", "text": "It adds.", "sees": ["diff"]}], seen=0, by=owner)
    freeze(task, by=owner)
    rubric = task.rubrics.order_by("-number").first()
    assert task.versions.count() == 1
    assert rubric is not None
    assert [(c.key, c.sees) for c in rubric.criteria.all()] == [("adds", ["diff"])]


def test_a_task_that_is_not_validated_cannot_be_published_and_says_why(task: Task, owner: User) -> None:
    assert blockers(open_draft(task), []) == ["It has not been validated."]
    validated(task)
    edit(open_draft(task), "instructions", "Other.", seen=0, by=owner)
    assert blockers(open_draft(task), []) == ["The draft has changed since the last validation. Validate it."]


def test_an_open_finding_blocks_until_it_is_waived_by_name_and_reason(task: Task, owner: User) -> None:
    validated(task)
    finding = found(task)
    with pytest.raises(NotAllowed, match="1 finding blocks it"):
        publish(task, by=owner)
    with pytest.raises(NotAllowed, match="Say why"):
        waive(finding, by=owner, reason="  ")
    waive(finding, by=owner, reason="An interface that the tests call.")
    publish(task, by=owner)
    finding.refresh_from_db()
    assert (finding.status, finding.waived_by, finding.waiver_reason) == (
        "waived",
        owner,
        "An interface that the tests call.",
    )


def test_what_is_not_safe_cannot_be_waived(task: Task, owner: User) -> None:
    finding = found(task, waivable=False, message="Nothing has to be fixed.")
    with pytest.raises(NotAllowed, match="cannot be waived"):
        waive(finding, by=owner, reason="Please.")


def test_a_curator_reviews_and_a_maintainer_publishes(task: Task, owner: User, curator: User) -> None:
    validated(task)
    assert {m.to for m in moves_for(task, curator)} == {"review"}
    assert {m.to for m in moves_for(task, owner)} == {"review", "published", "retired"}
    move(task, "review", by=curator)
    with pytest.raises(NotAllowed, match="takes a maintainer"):
        publish(task, by=curator)
    with pytest.raises(NotAllowed, match="Say why"):
        move(task, "draft", by=owner)
    move(task, "draft", by=owner, reason="The title says nothing.")
    assert [(r.from_state, r.to_state, r.reason) for r in task.reviews.all()] == [
        ("draft", "review", ""),
        ("review", "draft", "The title says nothing."),
    ]


def test_a_move_that_someone_else_made_first_is_refused(task: Task, owner: User) -> None:
    stale = Task.objects.get(pk=task.pk)
    move(task, "review", by=owner)
    with pytest.raises(NotAllowed, match="Someone else has just moved"):
        move(stale, "retired", by=owner, reason="old")
