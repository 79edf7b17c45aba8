"""Tasks over the API: a draft is changed as at the desk, and refused in the desk's words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from pydantic import ValidationError

from oneshot import store
from oneshot.accounts.models import Membership, User
from oneshot.api.documents import DraftGiven
from tasks.curation import claims, editing
from tasks.models import Criterion, CurationDraft, DraftEdit, Finding, Review, Rubric, Task, TaskVersion
from tests.api.asking import ask, error_of, make_token
from tests.builders import DIFF, make_rubric, make_task, make_team, make_user

pytestmark = pytest.mark.django_db


class Desk:
    """A task, two curators and a maintainer of its team, each with a token and a browser."""

    def __init__(self) -> None:
        self.curator, self.colleague, self.maintainer = make_user("cora"), make_user("carl"), make_user("mia")
        self.team = make_team(curator=self.curator, member=self.maintainer)
        Membership.objects.create(team=self.team, user=self.colleague, role="curator")
        self.task = make_task(team=self.team, slug="mend-it", title="Mend it")
        self.tokens = {user: make_token(user) for user in (self.curator, self.colleague, self.maintainer)}

    def ask(self, method: str, part: str = "", data: Any = None, by: User | None = None) -> Any:
        return ask(method, f"/tasks/{self.task.slug}{part}", self.tokens[by or self.curator], data)

    def change(self, by: User | None = None, **fields: Any) -> Any:
        return self.ask("patch", "/draft", {"seen": 0, **fields}, by)

    def on_page(self, action: str, data: dict[str, str], by: User | None = None) -> tuple[int, str]:
        """Return what the page's script is told when the same is asked of the page."""
        client = Client()
        client.force_login(by or self.curator)
        answer = client.post(f"/tasks/{self.task.slug}/curate/{action}", data, headers={"Accept": "application/json"})
        return answer.status_code, answer.json()["message"] if answer.status_code >= 400 else ""


@pytest.fixture
def desk() -> Desk:
    return Desk()


# ── changing a draft ──────────────────────────────────────────────────────────────────────────────────────────


def test_every_field_of_a_draft_can_be_changed_and_comes_back(desk: Desk) -> None:
    fields = {
        "title": "Mend the adder",
        "instructions": "Make `add` return the sum of its two numbers.",
        "tags": ["python", "easy"],
        "environment": {"packages": ["python3"], "timeout_s": 60},
        "sensitivity": "safe",
        "reference_diff": DIFF.decode().replace("a + b", "b + a"),
        "tests": [{"path": "tests/test_add.py", "content": "def test_add():\n    assert True\n"}],
        "criteria": [{"key": "adds", "text": "It adds.", "weight": "2", "kind": "essential"}],
    }
    answer = desk.change(**fields)
    assert answer.status_code == 200, answer.content
    document = desk.ask("get", "/draft").json()
    assert document == answer.json()
    assert (document["revision"], document["changed"], document["held_by"]) == (8, True, "cora")
    kept = document["fields"]
    assert {name: kept[name] for name in fields if name not in ("tests", "criteria")} == {
        name: value for name, value in fields.items() if name not in ("tests", "criteria")
    }
    assert kept["tests"] == [
        {
            "path": "tests/test_add.py",
            "content": "def test_add():\n    assert True\n",
            "bytes": 32,
            "mode": "100644",
            "rubric_id": None,
        }
    ]
    assert (kept["criteria"][0]["key"], kept["criteria"][0]["weight"]) == ("adds", "2")
    assert DraftEdit.objects.filter(by=desk.curator).count() == 8


def test_a_test_without_content_keeps_what_it_has_and_a_new_one_needs_some(desk: Desk) -> None:
    desk.change(tests=[{"path": "a.py", "content": "1"}])
    kept = desk.change(tests=[{"path": "a.py"}, {"path": "b.py", "content": "2"}]).json()["fields"]["tests"]
    assert [(test["path"], test["content"]) for test in kept] == [("a.py", "1"), ("b.py", "2")]
    assert error_of(desk.change(tests=[{"path": "c.py"}]))[:2] == (422, "invalid")


def test_all_of_a_change_is_kept_or_nothing(desk: Desk) -> None:
    status, code, message = error_of(desk.change(title="Good", sensitivity="very"))
    assert (status, code) == (422, "invalid")
    assert "unknown, safe, sensitive" in message
    assert desk.ask("get", "/draft").json()["fields"]["title"] == "Mend it"
    assert not DraftEdit.objects.exists()


def test_a_change_to_what_someone_else_changed_meanwhile_is_refused_with_both_texts(desk: Desk) -> None:
    desk.change(by=desk.colleague, instructions="Theirs.", reference_diff="")
    claims.release(desk.task, desk.colleague)
    answer = desk.change(instructions="Mine.")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["field"]) == (409, "conflict", "instructions")
    assert (error["mine"], error["theirs"]) == ("Mine.", "Theirs.")
    assert "carl changed the instructions" in error["message"]
    assert error["message"] == desk.on_page("edit/", {"field": "instructions", "value": "Mine.", "seen": "0"})[1]
    # Of a diff the texts are shown, never the digests that stand in the row.
    error = desk.change(reference_diff=DIFF.decode()).json()["error"]
    assert (error["mine"], error["theirs"]) == (DIFF.decode(), "")
    assert desk.ask("patch", "/draft", {"seen": 2, "instructions": "Mine."}).status_code == 200


def test_a_task_on_someone_elses_desk_is_not_changed(desk: Desk) -> None:
    claims.claim(desk.task, desk.colleague)
    status, code, message = error_of(desk.change(title="Mine"))
    assert (status, code) == (409, "conflict")
    assert message.startswith("carl has this task now")


def test_reading_a_draft_writes_nothing(desk: Desk) -> None:
    for part in ("", "/draft", "/findings"):
        assert desk.ask("get", part).status_code == 200
    assert not CurationDraft.objects.exists()
    assert not Finding.objects.exists()
    assert desk.ask("get", "/draft").json()["held_by"] is None


# ── what a client may not set ─────────────────────────────────────────────────────────────────────────────────


def columns(*models: Any) -> list[str]:
    return sorted(
        {
            name
            for model in models
            for column in model._meta.get_fields()
            for name in {column.name, getattr(column, "attname", column.name)}
        }
    )


ALLOWED = {"title", "instructions", "tags", "environment", "sensitivity", "reference_diff", "tests", "criteria"}


def test_no_column_can_be_written_but_those_of_a_draft(desk: Desk) -> None:
    assert set(DraftGiven.model_fields) == ALLOWED | {"seen"}
    before = Task.objects.values().get()
    names = set(columns(Task, TaskVersion, CurationDraft, DraftEdit, Review, Finding, Rubric, Criterion)) - ALLOWED
    assert {"state", "team", "team_id", "visibility", "reference_diff_digest", "validation", "revision"} <= names
    for name in names:
        with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
            DraftGiven.model_validate({"seen": 0, name: "published"})
    for name in ("state", "team_id", "validation", "revision"):
        status, code, message = error_of(desk.ask("patch", "/draft", {"seen": 0, "title": "Other", name: "published"}))
        assert (status, code, message) == (422, "invalid", f"There is no field {name!r}.")
    for part in ("/moves", "/validations"):
        assert error_of(desk.ask("post", part, {"to": "review", "state": "published"}))[1] == "invalid"
    assert Task.objects.values().get() == before


@pytest.mark.parametrize(
    "criterion",
    [
        {},
        {"text": " "},
        {"text": "x", "checks": 5},
        {"text": "x", "checks": [5]},
        {"text": "x", "sees": "diff"},
        {"text": "x", "sees": ["everything"]},
        {"text": "x", "weight": "heavy"},
        {"text": "x", "weight": -1},
        {"text": "x", "weight": "NaN"},
        {"text": "x", "weight": 1e300},
        {"text": "x", "kind": "nice"},
        {"text": "x", "position": 1},
        "x",
    ],
    ids=str,
)
def test_a_criterion_that_is_none_is_refused(desk: Desk, criterion: Any) -> None:
    assert error_of(desk.change(criteria=[criterion]))[:2] == (422, "invalid")


def test_content_is_never_named_by_its_digest(desk: Desk) -> None:
    secret = store.put(b"the secret of another team")
    assert error_of(desk.change(tests=[{"path": "a.py", "digest": secret}]))[:2] == (422, "invalid")
    assert error_of(desk.change(reference_diff=secret))[:2] == (422, "invalid")
    assert b"another team" not in desk.ask("get", "/draft").content


# ── moves and findings, in the page's words ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("data", "by"),
    [
        ({"to": "published"}, "maintainer"),
        ({"to": "published"}, "curator"),
        ({"to": "nowhere"}, "maintainer"),
        ({"to": "captured"}, "maintainer"),
        ({"to": "retired", "reason": ""}, "maintainer"),
        ({"to": "retired", "reason": "Twice"}, "curator"),
        ({"to": ""}, "curator"),
    ],
)
def test_page_and_api_refuse_a_move_alike(desk: Desk, data: dict[str, str], by: str) -> None:
    who = getattr(desk, by)
    status, code, message = error_of(desk.ask("post", "/moves", data, who))
    assert (status, code) == (409, "not_allowed")
    assert desk.on_page("move/", data, who) == (400, message)
    assert not Review.objects.exists()


def test_page_and_api_refuse_a_value_alike(desk: Desk) -> None:
    for field, value in (
        ("title", ""),
        ("sensitivity", "very"),
        ("environment", {"pakages": []}),
        ("instructions", "x" * 200_001),
    ):
        text = value if isinstance(value, str) else json.dumps(value)
        assert error_of(desk.change(**{field: value}))[2] == desk.on_page("edit/", {"field": field, "value": text})[1]


def test_a_task_goes_to_review_and_back_with_its_reasons(desk: Desk) -> None:
    moved = desk.ask("post", "/moves", {"to": "review"})
    assert (moved.status_code, moved.json()["from_state"], moved.json()["state"]) == (201, "draft", "review")
    back = desk.ask("post", "/moves", {"to": "draft", "reason": "Say which file."})
    assert back.json()["reason"] == "Say which file."
    assert list(Review.objects.values_list("to_state", "by__username")) == [("review", "cora"), ("draft", "cora")]


def test_what_may_be_done_next_depends_on_who_asks(desk: Desk) -> None:
    def moves(by: User) -> set[str]:
        return {move["to"] for move in desk.ask("get", "", by=by).json()["moves"]}

    assert moves(desk.curator) == {"review"}
    assert moves(desk.maintainer) == {"review", "published", "retired"}


def test_a_maintainer_publishes_what_nothing_stands_against(desk: Desk) -> None:
    TaskVersion.objects.update(validation="valid")
    make_rubric(desk.task)
    against = desk.ask("get", "/draft").json()["against_publishing"]
    assert against == []
    published = desk.ask("post", "/moves", {"to": "published"}, desk.maintainer)
    assert (published.status_code, published.json()["version"]) == (201, 1)
    assert Task.objects.get().state == "published"


def test_a_finding_is_waived_under_a_name_and_for_a_reason(desk: Desk) -> None:
    found = desk.ask("get", "/findings").json()["findings"]
    [hardly] = [row for row in found if row["title"] == "Hardly any instructions"]
    part = f"/findings/{hardly['fingerprint']}/waive"
    status, code, message = error_of(desk.ask("post", part, {"reason": " "}, desk.maintainer))
    assert (status, code) == (409, "not_allowed")
    page = desk.on_page(f"findings/{hardly['fingerprint']}/waive/", {"reason": " "}, desk.maintainer)
    assert page[1] == message
    waived = desk.ask("post", part, {"reason": "It is short and clear."}, desk.maintainer).json()
    assert (waived["status"], waived["waived_by"]) == ("waived", "mia")
    listed = desk.ask("get", "/findings").json()["findings"]
    assert [row["waiver_reason"] for row in listed if row["fingerprint"] == hardly["fingerprint"]] == [
        "It is short and clear."
    ]
    assert desk.ask("post", part, {"reason": "Again"}, desk.maintainer).status_code == 404


def test_a_task_without_any_version_says_so(desk: Desk) -> None:
    TaskVersion.objects.all().delete()
    for method, part, data in (
        ("get", "/draft", None),
        ("patch", "/draft", {"seen": 0}),
        ("post", "/moves", {"to": "review"}),
    ):
        assert error_of(desk.ask(method, part, data))[:2] == (409, "no_version")
    assert desk.ask("get", "/findings").json() == {"findings": []}
    assert error_of(desk.ask("post", "/validations"))[:2] == (422, "invalid")


def test_a_draft_is_validated_as_it_is(desk: Desk) -> None:
    desk.change(instructions="Make `add` return the sum of its two numbers.")
    answer = desk.ask("post", "/validations", {"draft": True})
    assert (answer.status_code, answer.json()["version"]) == (201, 2)
    assert len(answer.json()["runs"]) >= 6
    again = desk.ask("post", "/validations", {"version": 2}).json()
    assert again["id"] == answer.json()["id"]
    assert error_of(desk.ask("post", "/validations", {"version": 9}))[2] == "mend-it has no version 9."


# ── lists ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_tasks_come_a_page_at_a_time_with_as_many_queries_for_few_as_for_many(
    desk: Desk, django_assert_max_num_queries
) -> None:
    for number in range(7):
        make_task(team=desk.team, slug=f"task-{number}")
    token, seen, after = desk.tokens[desk.curator], [], ""
    for _ in range(3):
        with django_assert_max_num_queries(3):
            page = ask("get", f"/tasks?limit=3&after={after}", token).json()
        seen += [task["slug"] for task in page["tasks"]]
        after = page["next"]
    assert after is None
    assert seen == ["mend-it", *(f"task-{number}" for number in range(7))]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "state=open", "sort=title", "q=%00", "q=" + "x" * 201]
)
def test_a_query_that_is_not_understood_is_refused(desk: Desk, query: str) -> None:
    assert error_of(ask("get", f"/tasks?{query}", desk.tokens[desk.curator]))[:2] == (422, "invalid")


def test_an_undone_edit_of_the_page_shows_in_the_api(desk: Desk) -> None:
    desk.change(title="Other")
    editing.undo(CurationDraft.objects.get(), by=desk.curator)
    document = desk.ask("get", "/draft").json()
    assert (document["fields"]["title"], document["revision"], document["changed"]) == ("Mend it", 2, False)
