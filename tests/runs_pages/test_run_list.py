"""The list of runs: what it shows, in which order, page by page, and at what cost."""

import re
from datetime import timedelta
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from oneshot.accounts.models import Team, User
from runs import queries
from runs.models import Run
from runs.queries import Listing
from tests.builders import make_agent, make_public_task, make_run, make_task, make_team

pytestmark = pytest.mark.django_db


def body(client: Client, query: str = "") -> str:
    return client.get(f"/runs/{query}").content.decode()


def slugs(page: str) -> list[str]:
    return re.findall(r'<a class="name mono"[^>]*>([^<]+)</a>', page)


def made(team: Team, slug: str, **fields) -> Run:
    """Return a run of a task of its own, made `ago` minutes ago."""
    ago = fields.pop("ago", 0)
    run = make_run(task=make_task(team=team, slug=slug, title=slug), **fields)
    Run.objects.filter(pk=run.pk).update(created_at=timezone.now() - timedelta(minutes=ago))
    return run


# ── who sees what ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_member_sees_the_teams_runs_and_public_ones(owners: Client, team: Team) -> None:
    made(team, "ours")
    make_run(task=make_public_task(slug="public"))
    make_run(task=make_task(slug="secret"))

    assert sorted(slugs(body(owners))) == ["ours", "public"]


def test_a_visitor_sees_public_runs_only_and_no_buttons(client: Client, team: Team) -> None:
    made(team, "ours")
    make_run(task=make_public_task(slug="public"))

    page = body(client)
    assert slugs(page) == ["public"]
    assert "/cancel" not in page


def test_one_can_cancel_only_ones_own_runs(owners: Client, team: Team) -> None:
    mine = made(team, "ours")
    other = make_run(task=make_public_task(slug="public"))

    page = body(owners)
    assert f"/runs/{mine.pk}/cancel/" in page
    assert f"/runs/{other.pk}/cancel/" not in page


# ── filters ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def many(team: Team) -> None:
    """One run of each kind, the newest first."""
    codex = make_agent("codex", name="codex", model="gpt-5")
    made(team, "queued", ago=1, sandbox="docker")
    made(team, "running", ago=2, status="running")
    made(team, "resolved", ago=3, outcome="resolved", agent=codex)
    made(team, "unresolved", ago=4, outcome="unresolved", agent=codex, sandbox="docker")
    made(team, "timeout", ago=5, outcome="timeout")
    made(team, "infra", ago=6, status="infra_failed", fault="infra")
    made(team, "task-fault", ago=7, status="infra_failed", fault="task")
    made(team, "cancelled", ago=8, status="cancelled")
    made(team, "validation", ago=9, outcome="resolved", purpose="validation")


ALL = ["queued", "running", "resolved", "unresolved", "timeout", "infra", "task-fault", "cancelled", "validation"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ALL),
        ("?status=active", ["queued", "running"]),
        ("?status=queued", ["queued"]),
        ("?outcome=resolved", ["resolved", "validation"]),
        ("?outcome=unsolved", ["unresolved", "timeout"]),
        ("?outcome=timeout", ["timeout"]),
        ("?status=infra_failed", ["infra", "task-fault"]),
        ("?fault=task", ["task-fault"]),
        ("?agent=codex", ["resolved", "unresolved"]),
        ("?agent=codex&sandbox=docker", ["unresolved"]),
        ("?task=timeout", ["timeout"]),
        ("?purpose=validation", ["validation"]),
        ("?purpose=trial&outcome=resolved", ["resolved"]),
        ("?q=resolved", ["resolved", "unresolved"]),
        ("?q=RESOLVED+gpt", ["resolved", "unresolved"]),
        ("?q=queued+gpt", []),
        ("?agent=nobody", []),
        ("?task=nothing", []),
        ("?status=nonsense&outcome=x&sort=y&after=z&from=-1", ALL),
        ("?q=%00resolved%00", ["resolved", "unresolved"]),
        ("?sort=created", ALL[::-1]),
    ],
)
def test_filters_leave_what_they_say(owners: Client, many: None, query: str, expected: list[str]) -> None:
    assert slugs(body(owners, query)) == expected


def test_a_run_is_found_by_the_beginning_of_its_id_and_an_agent_by_its_row(owners: Client, many: None) -> None:
    run = Run.objects.get(task__slug="timeout")
    assert "timeout" in slugs(body(owners, f"?q={str(run.pk)[:20]}"))
    assert slugs(body(owners, f"?q={run.pk}")) == ["timeout"]

    agent = make_agent("codex", name="codex", model="gpt-5")
    page = body(owners, f"?agent={agent.pk}")
    assert slugs(page) == ["resolved", "unresolved"]
    assert "Agent: codex · gpt-5" in page


def test_segments_count_what_the_other_filters_leave(owners: Client, many: None) -> None:
    def counts(page: str) -> dict[str, str]:
        return dict(re.findall(r">(\w[\w ]*) <span class=\"n\">([\d,+]+)</span>", page))

    assert counts(body(owners)) == {
        "All": "9", "Active": "2", "Resolved": "2", "Not solved": "2", "Ungraded": "2", "Cancelled": "1",
    }  # fmt: skip
    assert counts(body(owners, "?agent=codex"))["Not solved"] == "1"
    assert counts(body(owners, "?agent=codex"))["Cancelled"] == "0"
    # a chosen segment does not change the others' counts
    assert counts(body(owners, "?outcome=resolved"))["All"] == "9"


def test_counts_of_very_many_runs_are_lower_bounds(owners: Client, many: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "COUNT_LIMIT", 4)
    page = body(owners)

    assert 'All <span class="n">4+</span>' in page
    assert 'Resolved <span class="n">1+</span>' in page
    assert ">Cancelled</a>" in page  # none among the newest: nothing is said
    assert "of 4+ runs" in page


def test_a_filter_in_force_is_shown_and_can_be_removed(owners: Client, many: None) -> None:
    page = body(owners, "?task=timeout&outcome=timeout&q=time")

    assert "Task: timeout" in page
    assert "Outcome: Timed out" in page
    assert 'href="?outcome=timeout&amp;q=time"' in page


def test_no_match_names_the_filters_and_how_much_there_is_without_them(owners: Client, many: None) -> None:
    page = body(owners, "?q=nothing&sandbox=docker")

    assert "No run matches" in page
    assert "The search is “nothing”." in page
    assert "Sandbox: docker." in page
    assert "9 runs exist without these filters" in page


def test_an_empty_list_says_how_to_fill_it(owners: Client) -> None:
    assert "oneshot run_task TASK --agent oracle" in body(owners)
    assert "to see the runs of your teams" in body(Client())


def test_a_search_for_markup_stays_text(owners: Client) -> None:
    page = body(owners, "?q=%3Cscript%3Ealert(1)%3C/script%3E&task=%22%3E%3Cblink%3E")

    assert "<script>alert" not in page
    assert "<blink>" not in page


# ── order and pages ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sort", ["-created", "created", "-time", "time", "-cost", "cost"])
@pytest.mark.parametrize("narrow", ["", "task"])
def test_pages_show_every_run_once_in_order_both_ways(
    team: Team, owner: User, monkeypatch: pytest.MonkeyPatch, sort: str, narrow: str
) -> None:
    monkeypatch.setattr(queries, "PAGE", 3)
    task = make_task(team=team, slug="one")
    for number in range(11):  # equal values, and values that are not known
        cost = None if number % 4 == 3 else Decimal(number // 2)
        make_run(task=task, outcome="resolved", seconds=None if number % 3 == 2 else number // 2, cost_usd=cost)
    filters = {"task": "one"} if narrow else {}
    pages, listing = [], Listing(sort=sort, **filters)
    while True:
        page = listing.page(owner)
        pages.append([run.pk for run in page.rows])
        if not page.older:
            break
        listing = Listing(sort=sort, after=page.older, start=page.end + 1, **filters)

    seen = [pk for page in pages for pk in page]
    assert len(seen) == len(set(seen)) == 11
    column = {"created": "created_at", "time": "seconds", "cost": "cost_usd"}[sort.removeprefix("-")]
    values = [getattr(Run.objects.get(pk=pk), column) for pk in seen]
    known = [value for value in values if value is not None]
    assert values == sorted(known, reverse=sort.startswith("-")) + [None] * (len(values) - len(known))

    back = [pages[-1]]
    while page.newer:
        page = Listing(sort=sort, before=page.newer, **filters).page(owner)
        back.insert(0, [run.pk for run in page.rows])
    assert [pk for rows in back for pk in rows] == seen


def test_links_of_pages_keep_the_filters(owners: Client, team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "PAGE", 2)
    for number in range(5):
        made(team, f"t{number}", outcome="resolved", ago=number)
    first = body(owners, "?outcome=resolved&sort=created")
    assert slugs(first) == ["t4", "t3"]
    assert "1 to 2 of 5 runs" in first

    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following is not None
    second = body(owners, following[1].replace("&amp;", "&"))
    assert slugs(second) == ["t2", "t1"]
    assert "3 to 4 of 5 runs" in second

    back = re.search(r'rel="prev" href="([^"]+)"', second)
    assert back is not None
    assert parse_qs(urlsplit(back[1].replace("&amp;", "&")).query)["outcome"] == ["resolved"]
    assert slugs(body(owners, back[1].replace("&amp;", "&"))) == ["t4", "t3"]


@pytest.mark.parametrize("cursor", ["~", "x~y", "nan~" + "0" * 32, "1e999~" + "0" * 32, "2020-01-01~" + "0" * 32])
def test_a_broken_cursor_is_the_first_page(owners: Client, many: None, cursor: str) -> None:
    for sort in ("created", "-time", "cost"):
        response = owners.get("/runs/", {"sort": sort, "after": cursor})
        assert response.status_code == 200
        assert len(slugs(response.content.decode())) == len(ALL)


def test_the_sorted_column_says_so_and_turns_around(owners: Client, many: None) -> None:
    page = body(owners, "?sort=-cost")

    assert page.count("aria-sort=") == 1
    assert re.search(r'aria-sort="descending"><a href="\?sort=cost">Cost', page)


# ── cost and life ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_number_of_queries_does_not_grow_with_the_rows(owners: Client, team: Team) -> None:
    made(team, "first", status="running")
    with CaptureQueriesContext(
        connection,
    ) as few:
        body(owners, "?q=t&sort=-cost&agent=tester")
    for number in range(20):
        made(team, f"task{number}", status="running", agent=make_agent(name=f"tester{number}"))
    with CaptureQueriesContext(connection) as more:
        body(owners, "?q=t&sort=-cost&agent=tester")

    assert len(more) == len(few)
    assert len(body(owners)) > 0


def test_a_list_costs_at_most_nine_queries(owners: Client, many: None, django_assert_max_num_queries) -> None:
    with django_assert_max_num_queries(9):  # session, user, teams twice, keys, rows, counts, and the form's token
        body(owners)


def test_rows_renew_themselves_only_while_something_goes_on(owners: Client, team: Team) -> None:
    made(team, "done", outcome="resolved")
    assert 'hx-trigger="every' not in body(owners).partition('id="rows"')[2].partition(">")[0]

    run = made(team, "going", status="running")
    page = body(owners)
    assert 'hx-trigger="every' in page.partition('id="rows"')[2].partition(">")[0]
    seen = re.search(r'"X-Seen": "(\w+)"', page)
    assert seen is not None
    headers = {"HX-Request": "true", "X-Seen": seen[1]}
    assert owners.get("/runs/rows/", headers=headers).status_code == 204

    Run.objects.filter(pk=run.pk).update(status="grading")
    renewed = owners.get("/runs/rows/", headers=headers)
    assert renewed.status_code == 200
    assert "Grading" in renewed.content.decode()
    assert 'id="segments" hx-swap-oob="true"' in renewed.content.decode()


def test_the_filter_form_offers_the_agents_that_one_may_see(owners: Client, team: Team) -> None:
    made(team, "ours", agent=make_agent(name="our-agent"))
    make_run(agent=make_agent(name="their-agent"))
    page = owners.get("/runs/filters/?q=x&outcome=timeout").content.decode()

    assert "our-agent" in page
    assert "their-agent" not in page
    assert '<option value="timeout" selected>' in page
    assert '<input type="hidden" name="q" value="x">' in page


# ── cancel all queued ──────────────────────────────────────────────────────────────────────────────────────────


def test_cancelling_the_queue_asks_with_the_number_and_keeps_what_is_going(owners: Client, team: Team) -> None:
    for number in range(3):
        made(team, f"q{number}")
    running = made(team, "going", status="running")
    elsewhere = make_run(task=make_public_task())
    question = owners.get("/runs/cancel-queued/", headers={"HX-Request": "true"}).content.decode()

    assert "Cancel 3 queued runs?" in question
    assert "1 run that is going continues." in question
    assert Run.objects.filter(status="queued").count() == 4

    response = owners.post("/runs/cancel-queued/", follow=True)
    assert "3 runs cancelled" in response.content.decode()
    assert set(Run.objects.exclude(status="cancelled")) == {running, elsewhere}


def test_cancelling_the_queue_is_held_to_the_filters_on_the_page(owners: Client, team: Team) -> None:
    made(team, "these")
    other = made(team, "others")
    owners.post("/runs/cancel-queued/?task=these&status=active")

    assert list(Run.objects.filter(status="queued")) == [other]


def test_an_empty_queue_offers_nothing_to_cancel(owners: Client) -> None:
    assert "No run waits" in owners.get("/runs/cancel-queued/").content.decode()


def test_a_very_long_queue_is_cancelled_in_parts(owners: Client, team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runs.views.listing.MOST_CANCELLED", 2)
    for number in range(3):
        made(team, f"q{number}")

    assert "Cancel 2 of 3 queued runs?" in owners.get("/runs/cancel-queued/").content.decode()
    assert "2 runs cancelled, 1 more waits" in owners.post("/runs/cancel-queued/", follow=True).content.decode()


def test_a_run_of_another_team_is_never_cancelled_with_mine(owners: Client, outsiders: Client, team: Team) -> None:
    theirs = make_run(task=make_public_task(team=make_team()))
    owners.post("/runs/cancel-queued/")
    outsiders.post("/runs/cancel-queued/")

    theirs.refresh_from_db()
    assert theirs.status == "queued"
