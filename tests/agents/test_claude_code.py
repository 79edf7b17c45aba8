"""The real Claude Code against a scripted model: it does its work, and however it fails, the ending says so."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from runs import agents
from runs.agents import npm
from runs.agents.base import Assignment
from runs.agents.claude_code.installation import CLAUDE_CODE
from runs.errors import AgentError, InfraError
from runs.models import AgentConfig
from runs.relay import Holder, open_door
from tests.servers.anthropic import Step, bash, http_error, say, scripted_messages, think, tool
from traces.proxy import database_path

pytestmark = pytest.mark.claude

KEY = "sk-ant-test-0123456789abcdefghijklmn"
FIX = bash("sed -i s/a-b/a+b/ calc.py")
FIXED = "+def add(a, b): return a+b"


@pytest.fixture(autouse=True)
def _place(monkeypatch, settings, tmp_path):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    settings.DATA_DIR = tmp_path / "data"


def claude(model="claude-sonnet-4-5", **settings):
    """Return the agent with retries off, so that a fault shows at once."""
    service = settings.pop("service", {})
    return lambda url: agents.load(
        AgentConfig(
            kind="claude_code",
            name="claude_code",
            model=model,
            settings={
                "request_retries": 0,
                "service": {"base_url": url, "key_env": "ANTHROPIC_API_KEY", **service},
                **settings,
            },
        )
    )


def run(sandbox, steps, *, agent=None, timeout_s=60.0, prompt="Mend add."):
    """Run Claude Code against the steps; return (ending, log lines, requests of its turns)."""
    lines = []
    with scripted_messages(steps) as service:
        made = (agent or claude())(service.url)
        with open_door(made.model(), "127.0.0.1", holder=Holder(run="a-run")) as door:
            assignment = Assignment(
                instructions=prompt,
                reference_diff=b"",
                timeout_s=timeout_s,
                model_url=door.url("127.0.0.1"),
                model_token=door.door.token,
                model_use=door.usage,
            )
            ending = made.run(sandbox, assignment, lambda source, text: lines.append(text))
    return ending, lines, service.turns


def test_it_edits_reports_and_counts(sandbox):
    change = tool("Edit", file_path=f"{sandbox.workdir}/calc.py", old_string="a-b", new_string="a+b")
    read = tool("Read", file_path=f"{sandbox.workdir}/calc.py")
    steps = [
        Step(items=[think("A sign is wrong."), read], cache_write_tokens=100),
        Step(items=[say("I mend it."), change]),
        Step(items=[bash("cat calc.py; exit 3")]),
        Step(items=[say("Mended.")]),
    ]
    ending, lines, requests = run(sandbox, steps)
    assert FIXED in sandbox.diff()
    assert (ending.exit_code, ending.outcome, ending.error) == (0, "", "")
    assert ending.final_message == "Mended."
    # What is read from the cache and written to it is input, too.
    assert (ending.tokens_input, ending.tokens_cached, ending.tokens_output) == (4 * 1000 + 100, 800, 200)
    assert {"claude-events.jsonl", "last-message.md"} <= set(ending.artifacts)
    assert [name for name in ending.transcripts if name == f"{ending.detail['thread_id']}.jsonl"]
    assert (ending.detail["turns"], ending.detail["commands"]) == (4, 1)
    text = "\n".join(lines)
    for said in ("(thinking) A sign is wrong.", "I mend it.", "edit ", "$ cat calc.py; exit 3", "(failed)", "Mended."):
        assert said in text
    assert "Mend add." in str(requests[0]["body"])
    assert requests[0]["headers"]["x-api-key"] == KEY
    assert requests[0]["headers"]["anthropic-version"]
    assert requests[0]["headers"]["anthropic-beta"]
    assert "authorization" not in requests[0]["headers"]


def test_its_requests_are_recorded_for_the_run_without_the_key(sandbox):
    ending, _, requests = run(sandbox, [Step(items=[FIX]), Step(items=[say(f"Done. {KEY}")])])
    with closing(sqlite3.connect(database_path())) as db:
        rows = db.execute(
            "SELECT run, door, agent, session, provider, status, model, tokens_input, stop_reason FROM exchange"
        ).fetchall()
        dump = "\n".join(db.iterdump())
    thread = ending.detail["thread_id"]
    assert rows == [
        ("a-run", "run", "claude_code", thread, "anthropic", 200, "claude-sonnet-4-5", 1000, reason)
        for reason in ("tool_use", "end_turn")
    ]
    assert len(requests) == 2
    assert KEY not in dump


def test_the_key_is_nowhere_in_the_sandbox_and_its_own_variables_are_there(sandbox):
    ending, lines, _ = run(
        sandbox, [Step(items=[bash("env > seen.txt")]), Step(items=[say("Done.")])], agent=claude(env={"MARK": "blue"})
    )
    assert "MARK=blue" in Path(sandbox.workdir, "seen.txt").read_text()
    for place in (sandbox.home, sandbox.workdir):
        for path in Path(place).rglob("*"):
            if path.is_file():
                assert KEY.encode() not in path.read_bytes(), path
    assert KEY not in "".join(lines)
    assert not any(KEY.encode() in data for _, data in ending.artifacts.values())


def test_instructions_may_be_long_and_may_look_like_an_option(sandbox):
    prompt = "--help is broken\n" + "explain " * 40_000
    ending, _, requests = run(sandbox, [Step(items=[say("Done.")])], prompt=prompt)
    assert ending.error == ""
    assert "--help is broken" in str(requests[0]["body"])


def test_it_asks_the_model_as_configured(sandbox):
    agent = claude(
        "claude-opus-4-1",
        thinking_tokens=0,
        max_output_tokens=1234,
        tools=["Bash", "Edit", "WebSearch"],
        disallowed_tools=["Bash(git push *)"],
        append_system_prompt="--be brief",
        reasoning_effort="high",
    )
    _, _, requests = run(sandbox, [Step(items=[say("Done.")])], agent=agent)
    body = requests[0]["body"]
    assert (body["model"], body["max_tokens"], body["thinking"]) == ("claude-opus-4-1", 1234, {"type": "disabled"})
    assert sorted(offer["name"] for offer in body["tools"]) == ["Bash", "Edit"]
    assert "--be brief" in json.dumps(body["system"])
    _, _, requests = run(sandbox, [Step(items=[say("Done.")])], agent=claude(web_search=True))
    assert {"WebSearch", "WebFetch"} <= {offer["name"] for offer in requests[0]["body"]["tools"]}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"reasoning_effort": "hihg"}, "low, medium, high"),
        ({"tools": ["--help"]}, "list of tools"),
        ({"tools": "Bash"}, "list of tools"),
        ({"max_turns": 0}, "above 0"),
        ({"modle": "x"}, "no setting 'modle'"),
        ({"service": {"cost_budget_usd": "much"}}, "US dollars"),
    ],
)
def test_settings_that_it_would_silently_ignore_are_refused(given, says):
    with pytest.raises(AgentError, match=says):
        agents.load(AgentConfig(kind="claude_code", name="c", settings=given))


def test_it_asks_anthropic_unless_told_otherwise():
    need = agents.load(AgentConfig(kind="claude_code", name="c")).model()
    assert (need.base_url, need.key_env, need.header) == (
        "https://api.anthropic.com/v1",
        "ANTHROPIC_API_KEY",
        "x-api-key",
    )
    other = {"base_url": "http://10.0.0.5/anthropic/v1?tenant=a", "header": "Authorization"}
    need = agents.load(AgentConfig(kind="claude_code", name="c", settings={"service": other})).model()
    assert (need.base_url, need.key_env, need.header) == ("http://10.0.0.5/anthropic/v1?tenant=a", "", "Authorization")


@pytest.mark.parametrize(
    ("step", "error", "says"),
    [
        (http_error(401, "invalid x-api-key", "authentication_error"), AgentError, "ANTHROPIC_API_KEY"),
        (http_error(404, "model: no-such-model", "not_found_error"), AgentError, "model's name"),
        (http_error(400, "Your credit balance is too low"), AgentError, "credit balance"),
        (http_error(500, "boom", "api_error"), InfraError, "did not answer"),
        (http_error(529, "Overloaded", "overloaded_error"), InfraError, "did not answer"),
    ],
)
def test_when_nothing_was_tried_the_fault_is_told_and_nothing_is_graded(sandbox, step, error, says):
    with pytest.raises(error, match=says):
        run(sandbox, [step])


def test_a_service_that_is_down_is_an_outage(sandbox):
    with pytest.raises(InfraError, match="did not answer"):
        run(sandbox, [], agent=claude(service={"base_url": "http://127.0.0.1:1"}))


def test_a_relay_that_cannot_be_reached_ends_it(sandbox):
    lost = Assignment(
        instructions="x", reference_diff=b"", timeout_s=30, model_url="http://127.0.0.1:1/v1", model_token="t"
    )
    with pytest.raises(InfraError, match="did not answer"):
        claude()("http://127.0.0.1:1").run(sandbox, lost, lambda source, text: None)


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (http_error(500, "boom", "api_error"), "boom"),
        (http_error(401, "the key has just expired", "authentication_error"), "expired"),
        (Step(items=[say("half")], drops=True, pace_s=0.1), "mid-response"),
    ],
)
def test_a_run_that_fails_half_way_keeps_its_diff_and_its_tokens(sandbox, step, says):
    ending, _, _ = run(sandbox, [Step(items=[FIX]), step])
    assert FIXED in sandbox.diff()
    assert (ending.exit_code, ending.outcome) == (1, "")
    assert says in ending.error
    assert ending.tokens_input >= 1000


def test_a_service_that_never_answers_ends_in_a_timeout_with_the_diff(sandbox):
    started = time.monotonic()
    ending, _, _ = run(sandbox, [Step(items=[FIX]), Step(hangs=True)], timeout_s=3)
    assert time.monotonic() - started < 10
    assert ending.outcome == "timeout"
    assert "3 s" in ending.error
    assert FIXED in sandbox.diff()
    assert (ending.tokens_input, ending.tokens_output) == (1000, 50)
    assert ending.transcripts


def test_a_refusal_is_an_outcome_and_what_was_done_before_it_is_kept(sandbox):
    ending, _, _ = run(sandbox, [Step(items=[FIX]), Step(items=[say("I cannot.")], stop_reason="refusal")])
    assert ending.outcome == "refused"
    assert ending.error
    assert FIXED in sandbox.diff()
    ending, _, _ = run(sandbox, [Step(items=[say("I'm sorry, but I cannot find the bug.")])])
    assert (ending.outcome, ending.error) == ("", "")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"service": {"token_budget": 500}}, "500 tokens"),
        ({"max_turns": 1}, "max_turns"),
    ],
)
def test_a_spent_budget_is_an_outcome(sandbox, given, says):
    ending, _, requests = run(sandbox, [Step(items=[FIX]), Step(items=[say("Done.")])], agent=claude(**given))
    assert ending.outcome == "budget_exhausted"
    assert says in ending.error
    assert len(requests) == 1
    assert FIXED in sandbox.diff()


def test_a_budget_in_dollars_is_kept_by_the_price_of_the_model_that_answers(sandbox):
    steps = [Step(items=[FIX], input_tokens=1_000_000, cached_tokens=0, output_tokens=0), Step(items=[say("Done.")])]
    lines = []
    with scripted_messages(steps) as service:
        made = claude(service={"cost_budget_usd": 2.5})(service.url)
        prices = {"claude-sonnet-*": {"input": "3", "cached_input": "0.3", "cache_write": "3.75", "output": "15"}}
        with open_door(made.model(), "127.0.0.1", holder=Holder(run="a-run", prices=prices)) as door:
            assignment = Assignment(
                instructions="Mend add.",
                reference_diff=b"",
                timeout_s=60,
                model_url=door.url("127.0.0.1"),
                model_token=door.door.token,
                model_use=door.usage,
            )
            ending = made.run(sandbox, assignment, lambda source, text: lines.append(text))
        assert len(service.turns) == 1
    assert ending.outcome == "budget_exhausted"
    assert "2.5 USD" in ending.error
    assert door.account.spent.cost_usd == 3
    assert door.account.spent.refused == 1


def test_servers_that_the_repository_names_are_not_started(sandbox):
    servers = {"mcpServers": {"own": {"command": "sh", "args": ["-c", "touch started.txt; sleep 60"]}}}
    Path(sandbox.workdir, ".mcp.json").write_text(json.dumps(servers))
    run(sandbox, [Step(items=[say("Done.")])])
    assert not Path(sandbox.workdir, "started.txt").exists()


def test_a_package_is_found_by_its_directory_and_by_version(monkeypatch, settings, tmp_path):
    found = CLAUDE_CODE.find()
    assert found is not None
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(npm, "global_root", lambda: "")
    assert CLAUDE_CODE.find() is None
    assert "npm install -g @anthropic-ai/claude-code" in CLAUDE_CODE.problem()
    settings.CLAUDE_CODE_DIR = str(found.root)
    assert CLAUDE_CODE.find(found.version) == found
    assert CLAUDE_CODE.find("0.0.1") is None
