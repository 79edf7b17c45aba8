"""The pages of boards over HTTP: who sees what, what the query string does, and what a board costs."""

from __future__ import annotations

import html
import json
import re
from decimal import Decimal

import pytest
from django.test import Client

from benchmarks import rollup
from benchmarks.models import Board
from benchmarks.standings import SORTS, Row
from benchmarks.views import STAMP_HEADER
from oneshot.accounts.models import Team, User, Visibility
from runs.models import AgentConfig, Run, RunScore
from tasks.models import Task
from tests.benchmarks.builders import make_board, make_tasks, row_of, standings_of, try_tasks
from tests.builders import make_agent, make_rubric, make_task, make_team, make_user

pytestmark = pytest.mark.django_db


@pytest.fixture
def member() -> User:
    return make_user("member")


@pytest.fixture
def team(member: User) -> Team:
    return make_team(slug="team", name="Payments", member=member)


@pytest.fixture
def tasks(team: Team) -> list[Task]:
    return make_tasks(6, team=team)


@pytest.fixture
def board(tasks: list[Task]) -> Board:
    return make_board(tasks)


@pytest.fixture
def agents(tasks: list[Task]) -> list[AgentConfig]:
    agents = [make_agent(name=name, version="1.0", model=f"model of {name}") for name in ("strong", "weak")]
    try_tasks(agents[0], tasks, "yyy yyy yyy yyy yyn yyu", cost_usd=Decimal("0.40"))
    try_tasks(agents[1], tasks, "nnn nnn nnn nnn ynn nnu")
    return agents


def client_of(user: User | None) -> Client:
    client = Client()
    if user:
        client.force_login(user)
    return client


@pytest.fixture
def client(member: User) -> Client:
    return client_of(member)


def page_of(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, f"{url} answers {response.status_code}"
    return response.content.decode()


def agents_in(page: str) -> list[str]:
    """Return the names of the ranked and waiting rows, from the top."""
    return [html.unescape(name).strip() for name in re.findall(r'class="name"[^>]*id="row-[^>]*>([^<]*)<', page)]


def words_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


# ── who sees what ───────────────────────────────────────────────────────────────────────────────────


def test_a_member_sees_the_team_an_outsider_nothing_and_a_visitor_the_log_in_page(client, agents, board):
    assert agents_in(page_of(client, "/leaderboard/")) == ["strong 1.0", "weak 1.0"]
    assert agents_in(page_of(client_of(make_user()), "/leaderboard/")) == []
    assert Client().get("/leaderboard/").headers["location"].startswith("/login/?next=/leaderboard/")
    for person in (client_of(make_user()), Client()):
        assert person.get("/boards/board/").status_code == 404
        assert person.get("/boards/board/live/").status_code == 404


def test_a_visitor_sees_public_tasks_and_only_them(tasks, agents):
    Task.objects.filter(pk=tasks[0].pk).update(visibility=Visibility.PUBLIC)
    page = page_of(Client(), "/leaderboard/")
    assert agents_in(page) == ["strong 1.0", "weak 1.0"]
    assert "1 task at its current version" in words_of(page)
    assert tasks[1].slug not in page


def test_a_public_board_never_shows_a_private_task_or_counts_it(tasks, agents, board):
    Board.objects.update(visibility=Visibility.PUBLIC)
    Task.objects.filter(pk=tasks[4].pk).update(visibility=Visibility.PUBLIC)
    page = page_of(Client(), "/boards/board/")
    assert tasks[4].slug in page
    assert tasks[0].slug not in page
    assert "66.7" in words_of(page)


def test_an_agents_name_is_text_and_never_markup(client, tasks, board):
    try_tasks(make_agent(name="<b>x</b>\"'", model="<script>alert(1)</script>"), tasks, "y y y y y y")
    page = page_of(client, "/boards/board/")
    assert "<b>x" not in page
    assert "<script>alert" not in page
    assert json.loads(html.unescape(re.search(r'data-chart="([^"]*)"', page)[1]))["points"][0]["label"] == "<b>x</b>\"'"


# ── what stands on a board ──────────────────────────────────────────────────────────────────────────


def test_a_row_says_rank_score_interval_cost_and_counts(client, agents, board):
    words = words_of(page_of(client, "/boards/board/"))
    row = words[words.index("strong 1.0") : words.index("weak 1.0")]
    assert "94.4 %" in row
    assert "95 % interval" in row
    assert "$0.42" in row  # 17 graded attempts at $0.40, 16 of them solved
    assert "17" in row
    assert "run here" in row
    assert "1 1 strong" not in words
    assert "unknown" in words[words.index("weak 1.0") :]


def test_ungraded_attempts_link_to_their_runs(client, agents, board):
    page = page_of(client, "/boards/board/")
    assert f"/runs/?purpose=trial&amp;agent={agents[0].pk}&amp;status=infra_failed" in page


def test_what_ran_unheld_is_marked(client, tasks, board):
    try_tasks(make_agent(name="free"), tasks, "y y y y y y", isolation="none")
    page = page_of(client, "/boards/board/")
    assert "not isolated" in page
    assert agents_in(page_of(client, "/boards/board/?rows=isolated")) == []


def test_references_can_be_hidden_and_have_no_rank(client, tasks, agents, board):
    try_tasks(make_agent("oracle"), tasks, "y y y y y y")
    assert "applies the reference diff" in page_of(client, "/boards/board/")
    assert "applies the reference diff" not in page_of(client, "/boards/board/?references=0")


def test_four_tasks_say_too_few_instead_of_a_line(client, team):
    few = make_tasks(4, team=team)
    make_board(few, slug="few")
    try_tasks(make_agent(name="a"), few, "y n y y")
    words = words_of(page_of(client, "/boards/few/"))
    assert "too few tasks" in words
    assert "4 tasks are too few for intervals and ranks" in words


def test_a_waiting_agent_stands_below_with_its_counts(client, tasks, agents, board):
    try_tasks(make_agent(name="fresh"), tasks, "r q q - - -")
    page = page_of(client, "/boards/board/")
    assert agents_in(page) == ["strong 1.0", "weak 1.0", "fresh"]
    words = words_of(page)
    assert "3 runs are still going. 1 at work, 2 waiting" in words
    assert "nothing graded yet; 1 at work, 2 waiting" in words


def test_a_board_of_the_demo_says_so(client, agents, board, team):
    assert 'class="badge">demo<' not in page_of(client, "/boards/board/")
    Team.objects.filter(pk=team.pk).update(is_demo=True)
    assert 'class="badge">demo<' in page_of(client, "/boards/board/")
    assert 'class="badge">demo<' in page_of(client, "/leaderboard/")


def test_a_board_without_attempts_says_how_to_get_some(client, board):
    words = words_of(page_of(client, "/boards/board/"))
    assert "No attempts yet" in words
    assert "oneshot run_task team-t00" in words


def test_the_leaderboard_can_be_narrowed_to_a_team(client, member, agents):
    other = make_team(slug="other", name="Other", member=member)
    try_tasks(make_agent(name="elsewhere"), make_tasks(1, team=other), "y")
    assert len(agents_in(page_of(client, "/leaderboard/"))) == 3
    assert agents_in(page_of(client, "/leaderboard/?team=other")) == ["elsewhere"]


def test_retired_tasks_leave_the_leaderboard(client, tasks, agents):
    Task.objects.update(state=Task.State.RETIRED)
    assert agents_in(page_of(client, "/leaderboard/")) == []


# ── what judges said ────────────────────────────────────────────────────────────────────────────────


def judge_all(agent: AgentConfig, *scores: float | None, calibrated: bool = False) -> None:
    """Give the graded runs of an agent these scores, in turn."""
    for number, run in enumerate(Run.objects.filter(agent=agent, status="finished").order_by("created_at")):
        rubric = run.task.rubrics.first() or make_rubric(run.task)
        value = scores[number % len(scores)]
        RunScore.objects.create(run=run, rubric=rubric, score=value, calibrated=calibrated)
    rollup.rebuild()


def test_nothing_is_said_of_rubrics_until_a_run_is_judged(client, agents, board):
    assert "sort=-rubric" not in page_of(client, "/boards/board/")


def test_the_rubric_score_is_a_column_of_its_own_and_ranks_nothing(client, agents, board):
    before = agents_in(page_of(client, "/boards/board/"))
    judge_all(agents[1], 0.5, 1.0)
    page = page_of(client, "/boards/board/")
    assert agents_in(page) == before
    row = found_row(agents[1])
    assert (row.judged, row.scored, row.graded) == (17, 17, 17)
    assert row.rubric == pytest.approx(0.75, abs=0.05)
    assert "0.7" in page
    assert "17 of 17 runs" in page
    assert "not judged" in page  # the other agent
    assert "not calibrated" in page


def test_the_mean_is_over_tasks_first_and_leaves_unknown_scores_out(agents, tasks):
    runs = [Run.objects.filter(agent=agents[0], task=task, status="finished").order_by("attempt") for task in tasks]
    for run, value in ((runs[0][0], 1.0), (runs[0][1], 0.0), (runs[1][0], 1.0), (runs[2][0], None)):
        RunScore.objects.create(run=run, rubric=make_rubric(run.task), score=value)
    rollup.rebuild()
    row = found_row(agents[0])
    assert row.rubric == pytest.approx((0.5 + 1.0) / 2)
    assert (row.judged, row.scored) == (4, 3)


def test_scores_that_are_not_known_are_unknown_and_not_zero(client, agents, board):
    judge_all(agents[0], None)
    page = page_of(client, "/boards/board/")
    assert found_row(agents[0]).rubric is None
    assert '<span class="unknown">unknown</span><span class="under">17 of 17 judged</span>' in page


@pytest.mark.parametrize(("calibrated", "words"), [(True, "calibrated</span>"), (False, "not calibrated</span>")])
def test_the_mark_says_whether_the_judges_agree_with_people(client, agents, board, calibrated, words):
    judge_all(agents[0], 0.5, calibrated=calibrated)
    assert f'<span class="vh">{words}' in page_of(client, "/boards/board/")
    assert found_row(agents[0]).all_calibrated == calibrated


def found_row(agent: AgentConfig) -> Row:
    return row_of(standings_of(), agent)


# ── the query string ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("key", list(SORTS))
def test_every_header_sorts_both_ways(client, agents, board, key):
    judge_all(agents[0], 0.5)
    up, down = (page_of(client, f"/boards/board/?sort={sign}{key}") for sign in ("", "-"))
    assert 'aria-sort="ascending"' in up
    assert 'aria-sort="descending"' in down
    assert len(agents_in(up)) == len(agents_in(down)) == 2


def test_sorting_turns_the_rows(client, agents, board):
    assert agents_in(page_of(client, "/boards/board/?sort=resolved")) == ["weak 1.0", "strong 1.0"]


@pytest.mark.parametrize("query", ["sort=nonsense", "page=999999999", "page=-1", "x=beauty", "rows=%00", "tasks=some"])
def test_an_old_or_wrong_link_still_shows_the_board(client, agents, board, query):
    assert agents_in(page_of(client, f"/boards/board/?{query}")) == ["strong 1.0", "weak 1.0"]


@pytest.mark.parametrize(("query", "axis"), [("", "cost"), ("?x=time", "time"), ("?x=tokens", "tokens")])
def test_the_axis_of_the_chart_stands_in_the_address(client, agents, board, query, axis):
    chart = re.search(r'data-chart="([^"]*)"', page_of(client, f"/boards/board/{query}"))[1]
    assert json.loads(html.unescape(chart))["axis"] == axis


# ── live ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_live_board_answers_nothing_until_something_ends(client, tasks, agents, board):
    for page_url, live_url in (("/boards/board/", "/boards/board/live/"), ("/leaderboard/", "/leaderboard/live/")):
        stamp = re.search(r'data-stamp="(\w+)"', page_of(client, page_url))[1]
        same = client.get(live_url, headers={STAMP_HEADER: stamp})
        assert (same.status_code, same.content) == (204, b"")
        try_tasks(agents[1], tasks, "y - - - - -")
        changed = client.get(live_url, headers={STAMP_HEADER: stamp})
        assert changed.status_code == 200
        assert b"<html" not in changed.content
        assert b'id="board"' in changed.content
        assert stamp not in changed.content.decode()


def test_a_page_asks_often_while_runs_go_and_seldom_else(client, tasks, agents, board):
    assert 'hx-trigger="every 15s"' in page_of(client, "/boards/board/")
    try_tasks(agents[1], tasks, "q - - - - -")
    assert 'hx-trigger="every 2s"' in page_of(client, "/boards/board/")


def test_the_excerpt_is_the_liveliest_of_ones_own_boards_or_all_tasks(client, member, tasks, agents):
    assert "Leaderboard" in words_of(page_of(client, "/boards/excerpt/"))
    make_board(tasks, slug="mine", title="Mine")
    make_board(
        make_tasks(1, team=make_team(is_demo=True, slug="demo")),
        slug="demo",
        title="Demo",
        visibility=Visibility.PUBLIC,
    )
    page = page_of(client, "/boards/excerpt/")
    assert "Mine" in words_of(page)
    assert "strong" in words_of(page)
    stamp = re.search(r"X-Board-Stamp&quot;: &quot;(\w+)|X-Board-Stamp\": \"(\w+)", page)
    assert client.get("/boards/excerpt/", headers={STAMP_HEADER: stamp[1] or stamp[2]}).status_code == 204


def test_the_list_shows_boards_one_may_read(client, tasks, agents, board):
    make_board([make_task()], slug="foreign", title="Foreign")
    words = words_of(page_of(client, "/boards/"))
    assert "The board" in words
    assert "Foreign" not in words


# ── what it costs ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "url", ["/leaderboard/", "/boards/board/", "/boards/board/live/", "/boards/excerpt/", "/boards/"]
)
def test_the_number_of_queries_does_not_grow(client, team, tasks, agents, board, url, django_assert_max_num_queries):
    client.get(url)
    with django_assert_max_num_queries(12) as small:
        client.get(url)
    more = make_tasks(20, team=make_team(slug="more"))
    Task.objects.filter(pk__in=[task.pk for task in more]).update(team=team)
    board.tasks.add(*more)
    for number in range(4):
        agent = make_agent(name=f"another{number}")
        try_tasks(agent, more, " ".join(["yq"] * 20))
    with django_assert_max_num_queries(len(small)):
        client.get(url)


# ── making, changing and deleting boards ────────────────────────────────────────────────────────────


def form(team: Team, **fields: object) -> dict:
    return {"title": "Second board", "description": "", "team": team.pk, "visibility": "private"} | fields


def test_a_member_makes_a_board_of_ticked_tasks_and_a_tag(client, team, tasks):
    Task.objects.filter(pk__in=[tasks[3].pk, tasks[4].pk]).update(tags=["shell"])
    response = client.post("/boards/new/", form(team, tasks=[tasks[0].slug], tags=["shell"]))
    assert response.headers["location"] == "/boards/second-board/"
    board = Board.objects.get(slug="second-board")
    assert set(board.tasks.all()) == {tasks[0], tasks[3], tasks[4]}
    assert board.team == team


@pytest.mark.parametrize(
    ("title", "slug"), [("New", "new-2"), ("Excerpt", "excerpt-2"), ("The board", "the-board"), ("¿?", "board-2")]
)
def test_a_board_gets_an_address_of_its_own(client, team, tasks, board, title, slug):
    client.post("/boards/new/", form(team, title=title, tasks=[tasks[0].slug]))
    assert client.get(f"/boards/{slug}/").status_code == 200


def test_a_board_needs_a_task(client, team, tasks):
    assert "needs at least one task" in words_of(page_after(client, "/boards/new/", form(team)))
    assert not Board.objects.exists()


def test_a_public_board_of_private_tasks_is_refused_with_their_names(client, team, tasks):
    page = page_after(client, "/boards/new/", form(team, visibility="public", tasks=[task.slug for task in tasks]))
    assert "not these of its tasks: team-t00, team-t01, team-t02 and 3 more" in words_of(page)
    assert 'value="team-t05" checked' in page
    assert not Board.objects.exists()


def page_after(client: Client, url: str, data: dict) -> str:
    response = client.post(url, data)
    assert response.status_code == 200
    return response.content.decode()


def test_nobody_makes_a_board_for_a_foreign_team_or_of_hidden_tasks(client, tasks):
    foreign = make_team()
    hidden = make_task(team=foreign)
    assert "Select a valid choice" in page_after(client, "/boards/new/", form(foreign, tasks=[tasks[0].slug]))
    assert not Board.objects.exists()
    page = page_after(client, "/boards/new/", form(tasks[0].team, tasks=[hidden.slug]))
    assert hidden.title not in page
    assert not Board.objects.exists()


def test_editing_keeps_the_address_and_tasks_that_one_may_not_see(client, team, tasks, board):
    unseen = make_task()
    board.tasks.add(unseen)
    client.post("/boards/board/edit/", form(team, title="Renamed", tasks=[tasks[1].slug]))
    board.refresh_from_db()
    assert (board.slug, board.title) == ("board", "Renamed")
    assert set(board.tasks.all()) == {tasks[1], unseen}


def test_deleting_asks_first_and_keeps_tasks_and_runs(client, tasks, agents, board):
    assert "all their runs stay" in words_of(page_of(client, "/boards/board/delete/"))
    assert Board.objects.exists()
    assert client.post("/boards/board/delete/").headers["location"] == "/boards/"
    assert not Board.objects.exists()
    assert agents_in(page_of(client, "/leaderboard/")) == ["strong 1.0", "weak 1.0"]


@pytest.mark.parametrize("path", ["edit", "delete"])
def test_an_outsider_changes_nothing_even_on_a_public_board(team, board, path):
    Board.objects.update(visibility=Visibility.PUBLIC)
    outsider = client_of(make_user())
    assert outsider.post(f"/boards/board/{path}/", form(team)).status_code == 404
    assert Client().post(f"/boards/board/{path}/", form(team)).status_code == 302
    assert Board.objects.get().title == "The board"
    assert "/boards/board/edit/" not in page_of(outsider, "/boards/board/")
