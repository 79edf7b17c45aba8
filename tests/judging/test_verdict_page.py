"""The rubric on a run's page: what is shown to whom, live and afterwards; and the button that judges again."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from runs.judging import actions, line
from runs.judging.models import Judgement
from runs.models import Run
from tests.builders import DIFF, make_public_task, make_run, make_superuser, make_task, make_team, make_user
from tests.judging.builders import judge_now, make_judge, make_judged_run, saying
from tests.servers.chat import chat_server, verdict

pytestmark = pytest.mark.django_db(transaction=True)


def page(client: Client, run: Run, **query: str) -> str:
    response = client.get(reverse("run-verdicts", kwargs={"pk": run.pk}), query)
    assert response.status_code == 200
    return response.content.decode()


def test_a_member_sees_each_criterion_with_its_evidence_and_where_it_stands(client: Client) -> None:
    member = make_user()
    task = make_task(team=make_team(member=member))
    run, rubric = make_judged_run(
        {"key": "adds", "text": "It adds <b>well</b>."},
        {"key": "bad", "text": "It prints.", "kind": "pitfall"},
        task=task,
    )
    with chat_server(saying(bad="not_met")) as server:
        judge_now(run, rubric, make_judge(server.url))
    client.force_login(member)
    body = page(client, run)
    assert "It adds &lt;b&gt;well&lt;/b&gt;." in body
    assert 'data-cite="adder.py" data-line="2" data-side="new"' in body
    assert "2 of 2 samples" in body
    assert "Avoided" in body
    assert "not calibrated" in body
    assert "hx-trigger" not in body


def test_hostile_words_of_a_judge_are_only_words(client: Client) -> None:
    run, rubric = make_judged_run({"key": "adds"}, {"key": "<script>alert(1)</script>"[:20]})
    script = lambda asked: verdict(asked, "not_met", reasoning="<script>x</script>\u202e<img src=x onerror=y>")  # noqa: E731
    with chat_server(script) as server:
        judge_now(run, rubric, make_judge(server.url))
    client.force_login(make_superuser())
    body = page(client, run)
    assert "<script" not in body
    assert "<img" not in body
    assert "\u202e" not in body


def test_a_stranger_sees_the_score_of_a_public_run_and_no_criterion(client: Client) -> None:
    run, rubric = make_judged_run({"key": "adds", "text": "The secret of the task."}, task=make_public_task())
    with chat_server(saying()) as server:
        judge_now(run, rubric, make_judge(server.url))
    body = page(client, run)
    assert "score 1.00" in body
    assert "secret" not in body
    assert "return a + b" not in body


def test_what_is_going_on_polls_and_what_has_not_changed_is_not_sent_again(client: Client) -> None:
    run, rubric = make_judged_run({"key": "adds"})
    actions.judge_run(run, rubric, make_judge("http://127.0.0.1:9/v1"))
    client.force_login(make_superuser())
    url = reverse("run-verdicts", kwargs={"pk": run.pk})
    body = page(client, run)
    assert 'hx-trigger="every 2s"' in body
    stamp = body.split("?v=")[1].split('"')[0]
    assert client.get(url, {"v": stamp}).status_code == 204
    Judgement.objects.update(status="running", tries=1)
    assert client.get(url, {"v": stamp}).status_code == 200


@pytest.mark.parametrize("rubric", [True, False])
def test_a_run_that_nobody_judged_says_so(client: Client, rubric: bool) -> None:
    run, made = make_judged_run({"key": "adds"})
    if not rubric:
        made.delete()
    client.force_login(make_superuser())
    assert ("Not judged" if rubric else "No rubric") in page(client, run)


def test_an_outage_is_unknown_on_the_page(client: Client, settings) -> None:
    settings.MAX_TRIES = 1
    run, rubric = make_judged_run({"key": "adds"})
    judge_now(run, rubric, make_judge("http://127.0.0.1:9/v1", parameters={"retries": 0}))
    client.force_login(make_superuser())
    body = page(client, run)
    assert "unknown" in body
    assert "cannot be reached" in body
    assert "0.00" not in body


def test_the_button_queues_a_judgement(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    enqueued: list[Judgement] = []
    monkeypatch.setattr(line, "enqueue", lambda row: bool(enqueued.append(row)))
    owner = make_user()
    run, _ = make_judged_run({"key": "adds"}, task=make_task(team=make_team(owner=owner)))
    make_judge("http://127.0.0.1:9/v1", "mini")
    client.force_login(owner)
    assert "Judge by rubric 1" in page(client, run)
    response = client.post(reverse("run-rescore", kwargs={"pk": run.pk}), {"judge": "mini"})
    assert response.status_code == 302
    [row] = enqueued
    assert (row.run_id, row.judge.name, row.status) == (run.pk, "mini", "queued")


def test_the_page_costs_the_same_queries_whatever_the_rubric_holds(
    client: Client, django_assert_max_num_queries
) -> None:
    run, rubric = make_judged_run(*({"key": f"k{n}", "text": f"Number {n}"} for n in range(12)), diff=DIFF)
    with chat_server(saying()) as server:
        judge_now(run, rubric, make_judge(server.url, parameters={"samples": 1}))
    client.force_login(make_superuser())
    with django_assert_max_num_queries(20):
        page(client, run)


def test_the_administration_opens_every_row_of_the_judge(client: Client) -> None:
    run, rubric = make_judged_run({"key": "adds"})
    with chat_server(saying()) as server:
        judgement = judge_now(run, rubric, make_judge(server.url))
    client.force_login(make_superuser())
    verdict_ = judgement.verdicts.first()
    assert verdict_ is not None
    rows = {"judgement": judgement, "judgeconfig": judgement.judge, "verdict": verdict_, "runscore": run.rubric_score}
    for name, row in rows.items():
        assert client.get(reverse(f"admin:runs_{name}_changelist"), {"q": "x"}).status_code == 200
        assert client.get(reverse(f"admin:runs_{name}_change", args=[row.pk])).status_code == 200


def test_the_page_has_a_tab_for_the_rubric_only_where_the_task_has_one(client: Client) -> None:
    client.force_login(make_superuser())
    judged, _ = make_judged_run()
    plain = make_run(outcome="resolved")
    for path in ("", "status/"):
        assert 'href="#rubric"' in client.get(f"/runs/{judged.pk}/{path}").content.decode()
        assert 'href="#rubric"' not in client.get(f"/runs/{plain.pk}/{path}").content.decode()
