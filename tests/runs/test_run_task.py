"""A task from its directory to a graded run, by the commands that a person types and with nothing else running."""

import shutil
import sqlite3
import zlib
from contextlib import closing

import pytest
import zstandard

from oneshot import demo
from tests.installation import Installation
from tests.servers import anthropic as messages
from tests.servers.responses import Step, http_error, say, scripted_responses, shell

TASK = "log-summary"
ZSTD = b"\x28\xb5\x2f\xfd"
KEY = "sk-canary-0123456789abcdefghij"
SOLUTION = (demo.HERE / "tasks" / TASK / "solution" / "summary.sh").read_text()
SOLVE = f"cat > summary.sh <<'END'\n{SOLUTION}END"
DOCKER = pytest.param("docker", marks=pytest.mark.docker)


@pytest.fixture(scope="module")
def validated(tmp_path_factory):
    """Return an installation of which no process runs, with one valid task."""
    installation = Installation(tmp_path_factory.mktemp("commands"), TEST_MODEL_KEY=KEY)
    path = demo.write_task(demo.HERE / "tasks" / TASK, installation.folder / "demo")
    document = installation.json("import_tasks", str(path))
    assert [(task["slug"], task["result"]) for task in document["tasks"]] == [(TASK, "new")]
    verdict = installation.json("validate_task", TASK)
    assert verdict["valid"] is True
    assert len(verdict["fail_to_pass"]) == 3
    assert verdict["pass_to_pass"] == ["summary::reads_an_empty_log"]
    return installation


def attempt(installation, *options, sandbox="local", check=True):
    """Make one attempt and return its document."""
    return installation.json("run_task", TASK, "--sandbox", sandbox, *options, check=check)["runs"][0]


@pytest.mark.parametrize("sandbox", ["local", DOCKER])
@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        (["--agent", "oracle"], "resolved"),
        (["--agent", "nop"], "empty_patch"),
        (["--agent", "command", "--command", SOLVE], "resolved"),
        (["--agent", "command", "--command", "echo more >> README.md"], "unresolved"),
    ],
    ids=["oracle", "nop", "solves", "does-something-else"],
)
def test_each_agent_ends_as_it_deserves(validated, sandbox, options, outcome):
    run = attempt(validated, *options, sandbox=sandbox)
    assert (run["status"], run["outcome"], run["error"]) == ("finished", outcome, "")
    assert run["sandbox"] == sandbox
    assert run["isolation"] in ("container", "bubblewrap", "unshare", "none")
    if outcome == "resolved":
        assert run["fail_to_pass"] == {"passed": 3, "failed": 0}
        assert run["pass_to_pass"] == {"passed": 1, "failed": 0}
    else:
        assert run["fail_to_pass"] == {"passed": 0, "failed": 3}
    assert run["tokens"] == {"input": None, "cached": None, "output": None}
    assert run["cost_usd"] is None
    assert run["url"].endswith(f"/runs/{run['id']}/")


def test_a_command_that_fails_midway_keeps_and_grades_its_diff(validated):
    run = attempt(validated, "--agent", "command", "--command", f"{SOLVE}\nexit 7")
    assert run["status"] == "finished"
    assert run["fail_to_pass"] == {"passed": 3, "failed": 0}
    assert run["diff_bytes"] > 0


def test_a_command_over_its_time_is_timed_out_with_its_diff_graded(validated):
    run = attempt(validated, "--agent", "command", "--command", f"{SOLVE}\nsleep 60", "--timeout", "2")
    assert (run["status"], run["outcome"]) == ("finished", "timeout")
    assert run["fail_to_pass"] == {"passed": 3, "failed": 0}
    assert run["seconds"]["running"] < 10


def test_new_ignored_and_committed_files_are_told_apart_in_the_diff(validated):
    script = (
        "printf '*.tmp\\n' > .gitignore; touch junk.tmp; printf 'new\\n' > new.txt; "
        "git add -A && git -c user.name=a -c user.email=a@b commit -qm mine; printf 'x' >> README.md"
    )
    run = attempt(validated, "--agent", "command", "--command", script)
    diff = validated.command("show_diff", run["id"]).stdout
    assert "new.txt" in diff
    assert "README.md" in diff
    assert "junk.tmp" not in diff


def test_the_terminal_shows_a_summary_with_tests_time_and_the_page(validated):
    text = validated.command("run_task", TASK, "--agent", "oracle", "--sandbox", "local", "--attempts", "2").stdout
    assert "Resolved: log-summary v1 by oracle" in text
    assert "To fix    3 of 3 passed" in text
    assert "ok   summary: 4 passed, 0 failed" in text
    assert "Total: 2 of 2 resolved" in text
    assert f"{validated.url}/runs/" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run_task", "log-sumary", "--agent", "nop"], "Did you mean log-summary?"),
        (["run_task", f"{TASK}@7", "--agent", "nop"], "has no version '7'; its versions are 1 to 1"),
        (["run_task", TASK], "Say which agent"),
        (["run_task", TASK, "--agent", "codx"], "codex"),
        (["run_task", TASK, "--agent", "nop", "--sandbox", "dokcer"], "docker"),
        (["run_task", TASK, "--agent", "nop", "--attempts", "0"], "the least is 1"),
        (["run_task", TASK, "--agent", "command"], "command"),
        (["run_task", TASK, "--agent-file", "nowhere.toml"], "nowhere.toml"),
        (["run_task", TASK, "--agent", "nop", "--timeout", "-3"], "--timeout"),
        (["run_task", TASK, "--agent", "nop", "--max-tokens", "0"], "--max-tokens 0: give a whole number"),
        (["run_task", TASK, "--agent", "nop", "--max-cost", "lots"], "--max-cost 'lots': give an amount"),
        (
            ["run_task", TASK, "--agent", "codex", "--model", "my-own", "--max-cost", "1"],
            "No price is known for model my-own",
        ),
        (["run_task", TASK, "--agent", "claude_code", "--max-cost", "1"], "names no model"),
        (["cancel_run", "7"], "There is no run '7'"),
    ],
)
def test_bad_input_ends_with_2_and_says_what_to_do(validated, arguments, words):
    result = validated.command(*arguments, check=False)
    assert result.returncode == 2
    assert words in result.stderr
    assert result.stdout == ""


def test_an_engine_that_is_away_leaves_the_run_ungraded_and_says_whose_fault(validated, tmp_path):
    away = Installation(tmp_path, ONESHOT_DOCKER_HOST="unix:///nowhere/docker.sock", ONESHOT_MAX_TRIES="1")
    shutil.copytree(validated.data_dir, away.data_dir)
    result = away.command("run_task", TASK, "--agent", "nop", "--sandbox", "docker", check=False)
    assert result.returncode in (2, 3)
    assert "Docker" in result.stdout + result.stderr


@pytest.mark.codex
@pytest.mark.parametrize("sandbox", ["local", DOCKER])
def test_the_real_codex_resolves_the_task_without_ever_seeing_the_key(validated, sandbox):
    steps = [Step(items=[shell(SOLVE)]), Step(items=[say("The summary counts by level now.")])]
    with scripted_responses(steps) as service:
        run = attempt(validated, *codex(service), sandbox=sandbox)
        assert {request["headers"].get("authorization") for request in service.requests} == {f"Bearer {KEY}"}
    assert (run["outcome"], run["error"], run["agent"], run["model"]) == ("resolved", "", "codex", "scripted-1")
    assert run["tokens"] == {"input": 2000, "cached": 400, "output": 100}
    assert KEY not in "".join(str(row) for row in validated.rows("SELECT * FROM runs_run"))
    assert not any(KEY.encode() in path.read_bytes() for path in validated.data_dir.rglob("*") if path.is_file())


@pytest.mark.codex
@pytest.mark.parametrize(
    ("last", "timeout", "outcome"),
    [
        (http_error(500, "the service broke"), 60, "resolved"),
        (Step(hangs=True), 6, "timeout"),
        (
            Step(items=[{"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}]),
            60,
            "refused",
        ),
        (Step(drops=True), 60, "resolved"),
    ],
    ids=["fails", "hangs", "refuses", "breaks-off"],
)
def test_a_codex_that_does_not_finish_keeps_its_diff_and_gets_the_right_outcome(validated, last, timeout, outcome):
    with scripted_responses([Step(items=[shell(SOLVE)]), last]) as service:
        run = attempt(validated, *codex(service), "--timeout", str(timeout))
    assert (run["status"], run["outcome"]) == ("finished", outcome)
    assert run["fail_to_pass"] == {"passed": 3, "failed": 0}
    assert run["diff_bytes"] > 0
    if outcome == "resolved":
        assert run["error"] != ""


def codex(service, model="scripted-1") -> list[str]:
    return ["--agent", "codex", "--model", model, "--base-url", service.url, "--key-env", "TEST_MODEL_KEY"]


def claude(service, model="claude-sonnet-4-5") -> list[str]:
    return ["--agent", "claude_code", "--model", model, "--base-url", service.url, "--key-env", "TEST_MODEL_KEY"]


def session_of(installation, run):
    [row] = installation.rows(
        "SELECT agent, origin, thread_id, step_count, tokens_input, cost_usd FROM traces_session WHERE id = "
        f"'{run['session'].replace('-', '')}'"
    )
    return row


def said(installation, run):
    """Return everything that was kept of a run's words, in the proxy database and the content store."""
    with closing(sqlite3.connect(installation.data_dir / "proxy" / "proxy.sqlite3")) as db:
        rows = db.execute("SELECT request_head, response_body FROM exchange WHERE run = ?", (run["id"],)).fetchall()
        packed = [blob for row in rows for blob in row] + [body for (body,) in db.execute("SELECT body FROM message")]
    kept = [zlib.decompress(blob) for blob in packed if blob]
    for path in installation.data_dir.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            kept.append(zstandard.ZstdDecompressor().decompressobj().decompress(data) if data[:4] == ZSTD else data)
    return b"\n".join(kept)


@pytest.mark.claude
@pytest.mark.parametrize("sandbox", ["local", DOCKER])
def test_the_real_claude_code_resolves_the_task_with_its_cost_and_its_trace(validated, sandbox):
    steps = [messages.Step(items=[messages.bash(SOLVE)]), messages.Step(items=[messages.say(f"It counts. {KEY}")])]
    with messages.scripted_messages(steps) as service:
        run = attempt(validated, *claude(service), "--max-cost", "1.50", sandbox=sandbox)
        assert {turn["headers"].get("x-api-key") for turn in service.turns} == {KEY}
    assert (run["outcome"], run["error"], run["agent"]) == ("resolved", "", "claude_code")
    assert run["tokens"] == {"input": 2000, "cached": 400, "output": 100}
    # 1600 new, 400 cached, 100 out, at 3, 0.30 and 15 dollars a million
    assert run["cost_usd"] == pytest.approx(0.00642)
    assert run["limits"]["max_cost_usd"] == "1.5"
    session = session_of(validated, run)
    assert (session["agent"], session["origin"]) == ("claude_code", "run")
    assert (session["tokens_input"], session["cost_usd"]) == (2000, pytest.approx(0.00642))
    assert session["thread_id"]
    assert session["step_count"] >= 3
    assert b"It counts." in said(validated, run)
    assert KEY.encode() not in said(validated, run)


@pytest.mark.codex
def test_a_run_that_has_spent_its_budget_is_graded_and_its_trace_is_kept(validated):
    steps = [Step(items=[shell(SOLVE)]), Step(items=[say("Done.")])]
    with scripted_responses(steps) as service:
        by_tokens = attempt(validated, *codex(service), "--max-tokens", "500")
        by_cost = attempt(validated, *codex(service, model="gpt-5"), "--max-cost", "0.0001")
        plain = attempt(validated, *codex(service))
        assert len(service.requests) == 1 + 1 + 2
    for run, words in ((by_tokens, "500 tokens"), (by_cost, "0.0001 USD")):
        assert (run["status"], run["outcome"]) == ("finished", "budget_exhausted")
        assert words in run["error"]
        assert run["fail_to_pass"] == {"passed": 3, "failed": 0}
        assert session_of(validated, run)["origin"] == "run"
    assert by_cost["cost_usd"] == pytest.approx(0.001525)
    # An unknown price is an unknown cost, and a budget is no part of what an agent is.
    assert (plain["cost_usd"], plain["answers_without_cost"]) == (None, 2)
    [row] = validated.rows(
        "SELECT count(DISTINCT agent_id) AS count FROM runs_run WHERE json_extract(limits, '$.max_tokens') = 500 "
        f"OR id = '{plain['id'].replace('-', '')}'"
    )
    assert row["count"] == 1


def test_an_agent_without_a_model_has_no_trace_and_needs_no_price(validated):
    run = attempt(validated, "--agent", "nop", "--max-cost", "1")
    assert (run["session"], run["cost_usd"], run["outcome"]) == (None, None, "empty_patch")
