"""The desk through HTTP: what each part shows, and what each button does."""

import json
import re

import pytest
from django.test import Client

from oneshot import store
from oneshot.accounts.models import User
from tasks.curation.editing import open_draft
from tasks.models import Finding, Task
from tests.builders import DIFF, make_task, make_team, make_user, make_version

pytestmark = pytest.mark.django_db

JSON = {"HTTP_ACCEPT": "application/json"}


@pytest.fixture
def owner() -> User:
    return make_user("mira")


@pytest.fixture
def curator() -> User:
    return make_user("jonas")


@pytest.fixture
def task(owner: User, curator: User) -> Task:
    tests = [{"path": "tests/test_it.py", "digest": store.put_text("def test_it(): pass\n"), "rubric_id": None}]
    return make_task(
        slug="adder",
        team=make_team(owner=owner, curator=curator),
        version={"hidden_tests": tests, "instructions": "Make the function add its two numbers."},
    )


@pytest.fixture
def desk(client: Client, curator: User) -> Client:
    client.force_login(curator)
    return client


def content(task: Task):
    return open_draft(task).content


def save(client: Client, field: str, value: str, seen: int = 0, **more):
    return client.post("/tasks/adder/curate/edit/", {"field": field, "value": value, "seen": seen, **more}, **JSON)


@pytest.mark.parametrize("part", ["instructions", "reference", "tests", "environment", "trace", "history", "nonsense"])
def test_every_part_of_a_task_opens(desk: Client, task: Task, part: str) -> None:
    page = desk.get(f"/tasks/adder/curate/?part={part}&pin=tests")
    assert page.status_code == 200
    assert "Curate: " in page.content.decode()


def test_the_queue_opens_the_oldest_task_that_nobody_has(desk: Client, task: Task, owner: User) -> None:
    newer = make_task(slug="newer", team=task.team)
    assert desk.get("/tasks/curate/").headers["Location"] == "/tasks/adder/curate/"
    owners = Client()
    owners.force_login(owner)
    owners.post("/tasks/adder/curate/claim/")
    assert desk.get("/tasks/curate/").headers["Location"] == f"/tasks/{newer.slug}/curate/"
    assert "mira has it" in desk.get("/tasks/newer/curate/").content.decode()


def test_an_empty_queue_says_how_to_begin(desk: Client) -> None:
    assert "Nothing waits" in desk.get("/tasks/curate/").content.decode()


def test_what_is_typed_is_saved_and_takes_the_task(desk: Client, task: Task, curator: User) -> None:
    answer = save(desk, "instructions", "Make it add.")
    assert (answer.status_code, answer.json()["revision"]) == (200, 1)
    task.refresh_from_db()
    assert content(task)["instructions"] == "Make it add."
    assert task.claimed_by == curator


def test_two_curators_keep_both_texts(desk: Client, task: Task, owner: User) -> None:
    owners = Client()
    owners.force_login(owner)
    save(owners, "instructions", "From Mira.")
    answer = save(desk, "instructions", "From Jonas.")
    said = answer.json()
    assert answer.status_code == 409
    assert (said["mine"], said["theirs"]) == ("From Jonas.", "From Mira.")
    assert "mira has this task now" in said["message"]
    page = desk.post("/tasks/adder/curate/edit/", {"field": "instructions", "value": "From Jonas.", "seen": 0})
    assert page.status_code == 409
    assert "From Jonas." in page.content.decode()
    assert "From Mira." in page.content.decode()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("title", "", "one line"),
        ("environment", "{", "This is no JSON"),
        ("environment", '{"nonsense": 1}', "no such field"),
        ("tests", "[]", "changed one by one"),
        ("reference_diff", "hello", ""),
        ("nothing", "x", "no field"),
    ],
)
def test_what_cannot_be_saved_says_why(desk: Client, task: Task, field: str, value: str, said: str) -> None:
    answer = save(desk, field, value)
    assert answer.status_code == 400
    assert said in answer.json()["message"]
    assert open_draft(task).revision == 0


def test_tags_environment_and_tests_are_edited_as_text(desk: Client, task: Task) -> None:
    assert save(desk, "tags", "a, b  a").status_code == 200
    assert save(desk, "environment", '{"timeout_s": 60}', 1).status_code == 200
    assert save(desk, "test", "def test_it(): assert add(1, 2) == 3\n", 2, path="tests/test_it.py").status_code == 200
    now = content(task)
    assert (now["tags"], now["environment"]) == (["a", "b"], {"timeout_s": 60})
    assert b"add(1, 2)" in store.get(now["tests"][0]["digest"])


def test_a_test_is_added_and_removed(desk: Client, task: Task) -> None:
    desk.post("/tasks/adder/curate/tests/", {"op": "add", "path": "tests/test_more.py"})
    assert [test["path"] for test in content(task)["tests"]] == ["tests/test_it.py", "tests/test_more.py"]
    desk.post("/tasks/adder/curate/tests/", {"op": "remove", "path": "tests/test_it.py"})
    assert [test["path"] for test in content(task)["tests"]] == ["tests/test_more.py"]
    refused = desk.post("/tasks/adder/curate/tests/", {"op": "add", "path": "../../etc/passwd"}, follow=True)
    assert "no path inside the repository" in refused.content.decode()


def test_undo_takes_back_the_last_edit(desk: Client, task: Task) -> None:
    save(desk, "instructions", "Other words, and more of them.")
    desk.post("/tasks/adder/curate/undo/")
    assert content(task)["instructions"] == "Make the function add its two numbers."


def test_the_rubric_grows_changes_moves_and_shrinks(desk: Client, task: Task) -> None:
    url = "/tasks/adder/curate/rubric/"
    htmx = {"HTTP_HX_REQUEST": "true"}
    desk.post(url, {"op": "add", "text": "It adds two numbers."}, **htmx)
    desk.post(url, {"op": "add", "text": "The code is clean."}, **htmx)
    rail = desk.post(url, {"op": "heavier", "key": "it-adds-two-numbers"}, **htmx).content.decode()
    assert "vague: what is clean?" in rail
    desk.post(url, {"op": "down", "key": "it-adds-two-numbers"}, **htmx)
    changed = {"text": "It adds any two integers.", "kind": "essential", "weight": "3", "checks": "negative ones\n\n"}
    asked = {"op": "set", "key": "it-adds-two-numbers", "sees-asked": "1", "sees": ["diff"], **changed}
    desk.post(url, asked, **htmx)
    desk.post(url, {"op": "remove", "key": "the-code-is-clean"}, **htmx)
    assert content(task)["criteria"] == [
        {
            "key": "it-adds-two-numbers",
            "text": "It adds any two integers.",
            "weight": "3",
            "kind": "essential",
            "checks": ["negative ones"],
            "sees": ["diff"],
        }
    ]
    desk.post(url, {"op": "template", "template": "bug"}, **htmx)
    assert len(content(task)["criteria"]) > 3


def test_a_rubric_goes_out_as_a_file_and_comes_back(desk: Client, task: Task) -> None:
    desk.post("/tasks/adder/curate/rubric/", {"op": "template", "template": "feature"})
    before = content(task)["criteria"]
    for form in ("json", "toml"):
        sent = desk.get(f"/tasks/adder/rubric.{form}")
        assert f"adder-rubric.{form}" in sent.headers["Content-Disposition"]
        from django.core.files.uploadedfile import SimpleUploadedFile

        desk.post("/tasks/adder/curate/rubric/", {"op": "remove", "key": before[0]["key"]})
        desk.post("/tasks/adder/curate/rubric/", {"op": "file", "file": SimpleUploadedFile(f"r.{form}", sent.content)})
        assert content(task)["criteria"] == before
    assert desk.get("/tasks/adder/rubric.exe").status_code == 404


def test_a_finding_is_marked_in_the_text_and_mended_by_a_button(desk: Client, task: Task) -> None:
    save(desk, "instructions", "Ask t.brandt@ledgerline.io about the numbers to add.")
    page = desk.get("/tasks/adder/curate/").content.decode()
    assert not Finding.objects.exists(), "reading writes nothing"
    match = re.search(r'<mark id="finding-(\w+)">t.brandt@ledgerline.io</mark>', page)
    assert match
    desk.post(f"/tasks/adder/curate/findings/{match[1]}/mend/")
    assert Finding.objects.get().status == "fixed"
    assert content(task)["instructions"] == "Ask [removed] about the numbers to add."


def test_only_a_maintainer_waives_and_publishes(desk: Client, task: Task, owner: User) -> None:
    version = task.versions.get()
    version.record_validation(valid=True, reason="", fail_to_pass=["a::b"], pass_to_pass=[], excluded=[], checks=[])
    finding = Finding.objects.create(
        task=task, kind="flake", severity="block", fingerprint="x", title="Flaky", message="It is."
    )
    waive, move = f"/tasks/adder/curate/findings/{finding.fingerprint}/waive/", "/tasks/adder/curate/move/"
    assert "takes a maintainer" in desk.post(waive, {"reason": "ok"}, follow=True).content.decode()
    owners = Client()
    owners.force_login(owner)
    assert "1 finding blocks it" in owners.post(move, {"to": "published"}, follow=True).content.decode()
    owners.post(waive, {"reason": "It is the network of the lab."})
    owners.post(move, {"to": "published", "reason": "good"})
    task.refresh_from_db()
    assert task.state == "published"
    history = desk.get("/tasks/adder/curate/?part=history").content.decode()
    assert "It is the network of the lab." in history
    assert "published by mira" in history


def test_sending_back_takes_a_reason_and_going_for_review_freezes_a_version(desk: Client, task: Task) -> None:
    save(desk, "instructions", "Make the function add any two numbers.")
    desk.post("/tasks/adder/curate/move/", {"to": "review"})
    task.refresh_from_db()
    assert (task.state, task.versions.count()) == ("review", 2)
    assert "Say why" in desk.post("/tasks/adder/curate/move/", {"to": "draft"}, follow=True).content.decode()
    desk.post("/tasks/adder/curate/move/", {"to": "draft", "reason": "Which numbers?"})
    task.refresh_from_db()
    assert task.state == "draft"
    shown = desk.get("/tasks/adder/changes/2/").content.decode()
    assert "any two numbers" in shown


def test_hostile_text_stays_text(desk: Client, task: Task) -> None:
    save(desk, "title", "<script>alert(1)</script>")
    save(desk, "instructions", "<img src=x onerror=alert(1)> </textarea><script>alert(2)</script> [a](javascript:x)", 1)
    desk.post("/tasks/adder/curate/rubric/", {"op": "add", "text": '"><script>alert(3)</script>'})
    make_version(task, diff=DIFF)
    for part in ("instructions", "tests", "history"):
        page = desk.get(f"/tasks/adder/curate/?part={part}").content.decode()
        assert "<script>alert" not in page
        assert "<img" not in page
        assert 'href="javascript' not in page


def test_a_stranger_finds_nothing(client: Client, task: Task) -> None:
    client.force_login(make_user())
    for url in (
        "/tasks/adder/curate/",
        "/tasks/adder/curate/rail/",
        "/tasks/adder/rubric.json",
        "/tasks/adder/changes/1/",
    ):
        assert client.get(url).status_code == 404
    assert save(client, "title", "Mine").status_code == 404


def test_the_desk_asks_the_database_a_constant_number_of_questions(
    desk: Client, task: Task, django_assert_max_num_queries
) -> None:
    for number in range(30):
        make_task(slug=f"other-{number}", team=task.team)
    with django_assert_max_num_queries(45):
        desk.get("/tasks/adder/curate/")


def test_a_conflict_in_the_rubric_is_told_to_the_script(desk: Client, task: Task, owner: User) -> None:
    owners = Client()
    owners.force_login(owner)
    owners.post("/tasks/adder/curate/claim/")
    answer = desk.post("/tasks/adder/curate/rubric/", {"op": "add", "text": "It adds."}, **JSON)
    assert answer.status_code == 409
    assert json.loads(answer.content)["message"].startswith("mira has this task now")


def test_a_flaky_test_is_quarantined_from_its_finding(client: Client, task: Task, owner: User) -> None:
    version = task.versions.get()
    version.record_validation(
        valid=True, reason="", fail_to_pass=["a::b"], pass_to_pass=["a::c"], excluded=[], checks=[]
    )
    place = {"part": "tests", "test_id": "a::c"}
    Finding.objects.create(
        task=task, kind="flake", fingerprint="x", title="A flaky test", message="It is.", place=place
    )
    client.force_login(owner)
    assert "Count it no more" in client.get("/tasks/adder/curate/").content.decode()
    client.post("/runs/quarantine/adder/", {"test_id": "a::c", "reason": "It asks the clock."})
    version.refresh_from_db()
    assert version.expectations()["excluded"] == [{"id": "a::c", "reason": "quarantined by mira: It asks the clock."}]
    assert (
        "does not count"
        in client.post("/runs/quarantine/adder/", {"test_id": "a::c", "reason": "x"}, follow=True).content.decode()
    )
