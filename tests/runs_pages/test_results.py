"""What a run left: tests in their groups, and artifacts that no browser runs."""

import json
import re

import pytest
from django.test import Client

from oneshot import store
from oneshot.accounts.models import Team
from runs.models import Artifact, Run, TestResult
from runs.views import results
from tests.builders import make_run, make_task

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(team: Team) -> Run:
    return make_run(task=make_task(team=team), outcome="unresolved", detail={"grading": "1 of 2 tests to fix fails."})


def add(run: Run, name: str, group: str, verdict: str = "passed", **fields) -> TestResult:
    output = fields.pop("output", "")
    digest = store.put_text(output) if output else ""
    return TestResult.objects.create(
        run=run, test_id=name, group=group, verdict=verdict, output_digest=digest, seconds=0.02, **fields
    )


def groups(page: str) -> list[tuple[bool, str, str]]:
    """Return (open, label, summary) of each group."""
    found = re.findall(r'<details class="group"( open)?><summary><svg.*?</svg>([^<]+)<span class="n">([^<]*)', page)
    return [(bool(is_open), label, words) for is_open, label, words in found]


def test_failed_groups_are_open_and_long_passed_ones_closed(owners: Client, run: Run) -> None:
    add(run, "t::a", "fail_to_pass")
    add(run, "t::b", "fail_to_pass", "failed", message="assert 1 == 2")
    for number in range(25):
        add(run, f"t::keep{number:02d}", "pass_to_pass")
    add(run, "t::flaky", "excluded", "failed")
    add(run, "t::new", "other")
    page = owners.get(f"/runs/{run.pk}/").content.decode()

    assert groups(page) == [
        (True, "To fix", "1 of 2 passed, 0.04 s"),
        (False, "To keep", "25 of 25 passed, 0.5 s"),
        (True, "Quarantined, not counted", "1 failed, 0.02 s"),
        (True, "Other", "1 passed, 0.02 s"),
    ]
    assert page.index("t::b") < page.index("t::a")  # what failed comes first
    assert "assert 1 == 2" in page
    assert "1 of 2 tests to fix fails." in page
    assert "Show 5 more" in page


def test_the_rest_of_a_group_comes_in_pages_without_gaps(
    owners: Client, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "PAGE", 7)
    monkeypatch.setattr(results, "MOST_PASSED", 5)
    monkeypatch.setattr(results, "MOST_FAILED", 3)
    for number in range(30):
        add(run, f"t::{number:02d}", "pass_to_pass", "failed" if number % 6 == 0 else "passed")
    page = owners.get(f"/runs/{run.pk}/").content.decode().partition('id="tests"')[2].partition('id="log"')[0]
    seen = re.findall(r"<code>(t::\d+)</code>", page)
    while following := re.search(r'hx-get="([^"]+/tests/[^"]+)"', page):
        page = owners.get(following[1]).content.decode()
        seen += re.findall(r"<code>(t::\d+)</code>", page)

    assert len(seen) == len(set(seen)) == 30
    assert seen[:5] == ["t::00", "t::06", "t::12", "t::18", "t::24"]


def test_a_test_opens_to_its_bounded_output(owners: Client, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    row = add(run, "t::a", "fail_to_pass", "failed", message="boom", output="\x1b[31mE  assert\x1b[0m <b>")
    quiet = add(run, "t::b", "fail_to_pass")
    page = owners.get(f"/runs/{run.pk}/").content.decode()
    assert f'hx-get="/runs/{run.pk}/test/{row.pk}/"' in page
    assert f"/test/{quiet.pk}/" not in page

    assert (
        '<pre class="code">E  assert &lt;b&gt;</pre>' in owners.get(f"/runs/{run.pk}/test/{row.pk}/").content.decode()
    )
    long = add(run, "t::c", "other", "error", output="x" * 90_000)
    shown = owners.get(f"/runs/{run.pk}/test/{long.pk}/").content.decode()
    assert "90,000 bytes in all, only the beginning is shown" in shown
    assert len(shown) < 25_000
    assert owners.get(f"/runs/{make_run(task=run.task).pk}/test/{row.pk}/").status_code == 404


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("empty_patch", "The agent changed nothing"),
        ("patch_failed", "could not be applied"),
        ("refused", "was not graded by tests"),
    ],
)
def test_a_run_without_tests_says_why(owners: Client, team: Team, outcome: str, words: str) -> None:
    run = make_run(task=make_task(team=team), outcome=outcome)
    assert words in owners.get(f"/runs/{run.pk}/").content.decode()


def test_an_artifact_is_a_download_whatever_it_claims_to_be(owners: Client, run: Run) -> None:
    data = b"<script>alert(1)</script>"
    row = Artifact.objects.create(
        run=run, name='../../a"\r\nX: y/<b>.html', media_type="text/html", digest=store.put(data), bytes=len(data)
    )
    response = owners.get(f"/runs/{run.pk}/artifacts/{row.pk}/")

    assert response.content == data
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"] == 'attachment; filename="<b>.html"'
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Security-Policy"].startswith("sandbox")
    assert "X" not in response.headers

    preview = owners.get(f"/runs/{run.pk}/artifacts/{row.pk}/preview/")
    assert "&lt;script&gt;alert(1)" in preview.content.decode()


def test_only_text_can_be_looked_at(owners: Client, run: Run) -> None:
    row = Artifact.objects.create(
        run=run, name="core", media_type="application/octet-stream", digest=store.put(b"\0"), bytes=1
    )
    assert owners.get(f"/runs/{run.pk}/artifacts/{row.pk}/preview/").status_code == 404
    assert f"artifacts/{row.pk}/preview/" not in owners.get(f"/runs/{run.pk}/").content.decode()


def test_an_artifact_belongs_to_its_run(owners: Client, run: Run) -> None:
    row = Artifact.objects.create(run=make_run(), name="x", digest=store.put(b"x"), bytes=1)
    assert owners.get(f"/runs/{run.pk}/artifacts/{row.pk}/").status_code == 404


def test_the_manifest_is_complete_and_without_secrets(
    owners: Client, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "a-very-secret-value")
    run.agent.settings = {"command": "run --with a-very-secret-value"}
    run.agent.save()
    document = json.loads(owners.get(f"/runs/{run.pk}/manifest.json").content)

    assert document["task"]["slug"] == run.task.slug
    assert document["limits"] == run.limits
    assert document["agent"]["settings"]["command"] == "run --with [redacted]"
    assert document["result"]["cost_usd"] is None
    page = owners.get(f"/runs/{run.pk}/").content.decode()
    assert "a-very-secret-value" not in page
