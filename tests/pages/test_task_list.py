"""The list of tasks: search, segments, order and pages, all of them in the address."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from oneshot.accounts.models import Team, User, Visibility
from tasks.listing import PAGE, Listing
from tasks.models import Task, TaskVersion
from tests.builders import make_public_task, make_task, make_team, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner() -> User:
    return make_user("owner")


@pytest.fixture
def team(owner: User) -> Team:
    return make_team(owner=owner, slug="payments")


@pytest.fixture
def owners(client: Client, owner: User, team: Team) -> Client:
    """A browser of the owner."""
    client.force_login(owner)
    return client


def shown(client: Client, query: str = "") -> list[str]:
    return [task.slug for task, _ in client.get(f"/tasks/{query}").context["rows"]]


def test_an_empty_list_says_how_to_fill_it(owners: Client) -> None:
    assert "oneshot import_tasks ./my-tasks" in owners.get("/tasks/").content.decode()


def test_a_visitor_sees_public_tasks_and_is_told_to_log_in_when_there_are_none(client: Client) -> None:
    make_task(slug="private")
    assert "Log in" in client.get("/tasks/").content.decode()
    make_public_task(slug="open")
    assert shown(client) == ["open"]


def test_a_filter_that_matches_nothing_names_itself_and_the_way_back(owners: Client, team: Team) -> None:
    make_task(team=team)
    page = owners.get("/tasks/?q=nothing+of+the+kind").content.decode()
    assert "No task matches" in page
    assert "“nothing of the kind”" in page
    assert "Clear filters" in page


def test_search_finds_title_slug_and_repository_and_takes_every_word(owners: Client, team: Team) -> None:
    make_task(team=team, slug="split", title="A refund loses a cent")
    make_task(team=team, slug="other", title="Other", version={"repo": {"git_url": "https://x.example/refunds.git"}})
    assert set(shown(owners, "?q=REFUND")) == {"split", "other"}
    assert shown(owners, "?q=refund+cent") == ["split"]
    assert shown(owners, "?q=spl") == ["split"]


def test_segments_count_within_what_the_other_has_chosen(owners: Client, team: Team) -> None:
    for state, validation in (("draft", "valid"), ("draft", "invalid"), ("published", "valid")):
        make_task(team=team, state=state, version={"validation": validation})
    context = owners.get("/tasks/?state=draft&validation=valid").context
    assert {segment.label: segment.count for segment in context["states"]} == {"All": 2, "Draft": 1, "Published": 1}
    assert {s.label: s.count for s in context["validations"]} == {"All": 2, "Valid": 1, "Not valid": 1}
    assert context["page"].paginator.count == len(context["rows"]) == 1


def test_a_tag_is_found_whole_and_in_any_script(owners: Client, team: Team) -> None:
    make_task(team=team, slug="one", tags=["go", "größe"])
    make_task(team=team, slug="two", tags=["going"])
    assert shown(owners, "?tag=go") == ["one"]
    assert shown(owners, "?tag=größe") == ["one"]
    assert "Remove the filter on tag go" in owners.get("/tasks/?tag=go").content.decode()


def test_a_team_can_be_chosen_by_its_slug(owners: Client, owner: User, team: Team) -> None:
    make_task(team=team, slug="here")
    make_task(team=make_team(owner=owner), slug="there")
    assert shown(owners, "?team=payments") == ["here"]


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("title", ["a", "b", "c"]),
        ("-title", ["c", "b", "a"]),
        ("-tests", ["b", "a", "c"]),
        ("nonsense", ["c", "b", "a"]),
    ],
)
def test_the_order_is_in_the_address_and_unknowns_come_last(
    owners: Client, team: Team, sort: str, order: list[str]
) -> None:
    for slug, tests in (("a", 1), ("b", 5), ("c", None)):
        make_task(team=team, slug=slug, title=slug, version={"fail_to_pass_count": tests})
    assert shown(owners, f"?sort={sort}") == order


def test_pages_keep_the_filters(owners: Client, team: Team) -> None:
    for _ in range(PAGE + 2):
        make_task(team=team, state="draft")
    page = owners.get("/tasks/?state=draft").content.decode()
    assert f"1 to {PAGE} of {PAGE + 2} tasks" in page
    assert 'href="?state=draft&amp;page=2"' in page
    assert len(shown(owners, "?state=draft&page=2")) == 2
    assert len(shown(owners, "?page=99")) == 2


@pytest.mark.parametrize(
    "query",
    [
        "page=x",
        "page=-1",
        "page=٣",
        "state=no",
        "validation=%00",
        "sort=--x",
        "q=%25_%27",
        "tag=%22",
        "q=%00&tag=%00&team=%00",
    ],
)
def test_an_old_or_odd_link_shows_a_list_and_never_an_error(owners: Client, team: Team, query: str) -> None:
    make_task(team=team)
    assert owners.get(f"/tasks/?{query}").status_code == 200


def test_a_row_says_what_is_known_and_what_is_not(owners: Client, team: Team) -> None:
    make_task(team=team, visibility=Visibility.PUBLIC, version={"fail_to_pass_count": 4, "pass_to_pass_count": 53})
    make_task(team=team, version=False)
    page = owners.get("/tasks/").content.decode()
    assert '4 <span class="dim">+ 53</span>' in page
    assert "not fixed yet" in page
    assert "public</span>" in page


def many(team: Team, number: int) -> None:
    tasks = Task.objects.bulk_create(
        Task(slug=f"t{n}", title=f"Task {n}", team=team, state=Task.State.values[n % 5], tags=["even"] if n % 2 else [])
        for n in range(number)
    )
    versions = TaskVersion.objects.bulk_create(
        TaskVersion(task=task, number=1, digest=f"{n:064x}", title=task.title, instructions="x" * 500)
        for n, task in enumerate(tasks)
    )
    for task, version in zip(tasks, versions, strict=True):
        task.current_version = version
    Task.objects.bulk_update(tasks, ["current_version"], batch_size=500)


def test_two_thousand_tasks_take_the_queries_of_ten(owners: Client, team: Team) -> None:
    many(team, 10)
    owners.get("/tasks/")
    with CaptureQueriesContext(connection) as few:
        owners.get("/tasks/")
    Task.objects.all().delete()
    many(team, 2_000)
    with CaptureQueriesContext(connection) as lots:
        assert owners.get("/tasks/").context["page"].paginator.count == 2_000
    assert len(lots) == len(few) <= 6


def test_reading_a_query_string_keeps_only_what_is_known() -> None:
    listing = Listing.read({"q": " a ", "state": "draft", "validation": "nope", "sort": "-version", "page": "3"})
    assert (listing.q, listing.state, listing.validation, listing.sort, listing.page) == (
        "a",
        "draft",
        "",
        "-version",
        3,
    )
