"""The page for labelling: what comes, what it shows and what it never shows, and what is kept."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from oneshot.accounts.models import User
from runs.judging.models import JudgeConfig, Label
from runs.models import Run
from tasks.models import Criterion
from tests.builders import make_run, make_task, make_team, make_user
from tests.judging.builders import add_rubric
from tests.labelling.builders import add_judge, judged, label

pytestmark = pytest.mark.django_db
GIVE = re.compile(r'action="(/runs/label/([0-9a-f-]{36})/(\d+)/)"')


@pytest.fixture
def mira() -> User:
    return make_user("mira")


@pytest.fixture
def run(mira: User) -> Run:
    task = make_task(team=make_team(curator=mira), slug="adder")
    return judged(task, add_judge(), "mnc")


@pytest.fixture
def client(mira: User) -> Client:
    client = Client()
    client.force_login(mira)
    return client


def shown(client: Client, query: str = "") -> tuple[str, Run, Criterion]:
    """Return the page's text and the item on it."""
    body = client.get(f"/runs/label/{query}").content.decode()
    found = GIVE.search(body)
    assert found, body
    return body, Run.objects.get(pk=found[2]), Criterion.objects.get(pk=found[3])


def give(client: Client, answer: str, **data: str) -> Criterion:
    _, run, criterion = shown(client)
    client.post(f"/runs/label/{run.pk}/{criterion.pk}/", {"answer": answer, **data})
    return criterion


def test_it_shows_the_question_and_never_what_the_judge_or_others_said(client: Client, run: Run) -> None:
    other = make_user("jonas")
    label(other, run, "mm-", note="I say it is fine.")
    body, _, criterion = shown(client)
    assert criterion.text in body
    for secret in ("secret words", "I say it is fine", "jonas", "Resolved", run.agent.name, f"/runs/{run.pk}/&quot;"):
        assert secret not in body
    assert f'href="/runs/{run.pk}/"' not in body
    assert "return a + b" in re.sub(r"<[^>]+>", "", body)


def test_it_shows_what_the_criterion_lets_one_see_and_no_more(mira: User, client: Client) -> None:
    task = make_task(team=make_team(curator=mira))
    add_rubric(task, {"text": "It says so.", "sees": ["final_message"], "checks": ["the last line"]})
    judged(task, add_judge(), "m", detail={"final_message": "I have done <b>all</b>."})
    body, _, _ = shown(client)
    assert "I have done &lt;b&gt;all&lt;/b&gt;." in body
    assert "the last line" in body
    assert 'id="diff"' not in body
    assert 'id="tests"' not in body


def test_an_answer_is_kept_and_the_next_item_comes(client: Client, run: Run, mira: User) -> None:
    first = give(client, "met", note=" fine ", seconds="12.5")
    row = Label.objects.get()
    assert (row.user, row.run, row.criterion, row.answer, row.note, row.blind, row.seconds) == (
        mira, run, first, "met", "fine", True, 12.5,
    )  # fmt: skip
    body, _, second = shown(client)
    assert second != first
    assert "1 of 50" in body


def test_who_has_seen_the_judge_says_so_and_does_not_count(client: Client, run: Run) -> None:
    give(client, "met", seen="1", seconds="nan")
    row = Label.objects.get()
    assert (row.blind, row.seconds) == (False, None)
    assert "0 of 50" in client.get("/runs/label/").content.decode()


def test_undo_takes_the_last_answer_back_and_shows_its_item(client: Client, run: Run) -> None:
    give(client, "met")
    second = give(client, "not_met", note="It does not.")
    answer = client.post("/runs/label/undo/", follow=True)
    assert [row.criterion for row in Label.objects.all()] != [second]
    assert Label.objects.count() == 1
    body = answer.content.decode()
    assert second.text in body
    assert "It does not." in body
    client.post(f"/runs/label/{run.pk}/{second.pk}/", {"answer": "met"})
    assert Label.objects.get(criterion=second).answer == "met"


def test_undo_without_an_answer_says_so(client: Client, run: Run) -> None:
    body = client.post("/runs/label/undo/", follow=True).content.decode()
    assert "no answer of yours" in body


def test_what_is_skipped_comes_no_more_until_it_is_asked_for(client: Client, run: Run) -> None:
    seen = set()
    for _ in range(3):
        _, _, criterion = shown(client)
        seen.add(criterion.pk)
        client.post(f"/runs/label/{run.pk}/{criterion.pk}/skip/")
    assert len(seen) == 3
    body = client.get("/runs/label/").content.decode()
    assert "You have skipped 3 items" in body
    assert shown_after_unskip(client) in seen


def shown_after_unskip(client: Client) -> int:
    client.post("/runs/label/undo/", {"skipped": "1"})
    return shown(client)[2].pk


def test_when_all_is_labelled_it_says_so(client: Client, run: Run) -> None:
    for _ in range(3):
        give(client, "met")
    body = client.get("/runs/label/").content.decode()
    assert "Nothing to label" in body
    assert "You have labelled everything" in body


@pytest.mark.parametrize("person", ["viewer", "outsider"])
def test_only_curators_have_something_to_label(person: str, run: Run) -> None:
    user = make_user(person)
    if person == "viewer":
        run.team.memberships.create(user=user, role="viewer")
    client = Client()
    client.force_login(user)
    assert "You are curator of no team" in client.get("/runs/label/").content.decode()
    criterion = Criterion.objects.first()
    assert criterion is not None
    assert client.get(f"/runs/label/?run={run.pk}&criterion={criterion.pk}").status_code == 404
    assert client.post(f"/runs/label/{run.pk}/{criterion.pk}/", {"answer": "met"}).status_code == 404
    assert not Label.objects.exists()


@pytest.mark.parametrize(
    "query", ["?judge=x", "?run=x&criterion=1", "?run=019ab8a0-0000-7000-8000-000000000000&criterion=²"]
)
def test_a_crooked_address_is_not_found(client: Client, run: Run, query: str) -> None:
    assert client.get(f"/runs/label/{query}").status_code == 404


def test_a_criterion_of_another_task_is_not_found(client: Client, run: Run) -> None:
    rubric = add_rubric(make_task(team=run.team))
    criterion = rubric.criteria.get()
    assert client.post(f"/runs/label/{run.pk}/{criterion.pk}/", {"answer": "met"}).status_code == 404


def test_an_unknown_answer_is_refused_and_the_item_stays(client: Client, run: Run) -> None:
    _, _, criterion = shown(client)
    answer = client.post(f"/runs/label/{run.pk}/{criterion.pk}/", {"answer": "maybe"}, follow=True)
    assert "Choose met, not met or cannot assess" in answer.content.decode()
    assert criterion.text in answer.content.decode()
    assert not Label.objects.exists()


def test_a_pitfall_says_what_met_means(mira: User, client: Client) -> None:
    task = make_task(team=make_team(curator=mira))
    add_rubric(task, {"text": "It deletes data.", "kind": "pitfall"})
    judged(task, add_judge(), "n")
    assert "it happened" in shown(client)[0]


def test_runs_that_nobody_judged_do_not_come(mira: User, client: Client) -> None:
    task = make_task(team=make_team(curator=mira))
    add_rubric(task)
    make_run(task=task, outcome="resolved")
    assert "No judge has judged" in client.get("/runs/label/").content.decode()


def test_a_get_writes_nothing_and_takes_few_queries(client: Client, run: Run, django_assert_max_num_queries) -> None:
    with django_assert_max_num_queries(25):
        shown(client)
    assert not Label.objects.exists()
    assert JudgeConfig.objects.count() == 1
