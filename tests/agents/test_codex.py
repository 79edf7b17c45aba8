"""The real Codex CLI against a scripted model: it does its work, and however it fails, the ending says so."""

import os
import time
from pathlib import Path

import pytest

from runs import agents
from runs.agents import npm
from runs.agents.base import Assignment
from runs.agents.codex.installation import CODEX
from runs.errors import AgentError, InfraError
from runs.models import AgentConfig
from runs.relay import open_door
from tests.servers.responses import Step, http_error, patch, refuse, say, scripted_responses, shell

pytestmark = pytest.mark.codex

KEY = "sk-test-0123456789abcdefghijklmn"
FIX = shell("sed -i s/a-b/a+b/ calc.py")
FIXED = "+def add(a, b): return a+b"


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def codex(**settings):
    """Return the agent with retries off, so that a fault shows at once."""
    service = settings.pop("service", {})
    return lambda url: agents.load(
        AgentConfig(
            kind="codex",
            name="codex",
            model=settings.pop("model", "scripted-1"),
            settings={
                "request_retries": 0,
                "stream_retries": 0,
                "service": {"base_url": url, "key_env": "OPENAI_API_KEY", **service},
                **settings,
            },
        )
    )


def run(sandbox, steps, *, agent=None, timeout_s=60.0, prompt="Mend add."):
    """Run Codex against the steps; return (ending, log lines, requests that the service got)."""
    lines = []
    with scripted_responses(steps) as service:
        made = (agent or codex())(service.url)
        with open_door(made.model(), "127.0.0.1") as door:
            assignment = Assignment(
                instructions=prompt,
                reference_diff=b"",
                timeout_s=timeout_s,
                model_url=door.url("127.0.0.1"),
                model_token=door.door.token,
                model_use=door.usage,
            )
            ending = made.run(sandbox, assignment, lambda source, text: lines.append(text))
    return ending, lines, service.requests


def test_it_edits_reports_and_counts(sandbox):
    ending, lines, requests = run(sandbox, [Step(items=[FIX]), Step(items=[say("Mended.")])])
    assert FIXED in sandbox.diff()
    assert (ending.exit_code, ending.outcome, ending.error) == (0, "", "")
    assert ending.final_message == "Mended."
    assert (ending.tokens_input, ending.tokens_cached, ending.tokens_output) == (2000, 400, 100)
    assert ending.cost_usd is None
    assert {"codex-events.jsonl", "last-message.md"} <= set(ending.artifacts)
    assert any(name.startswith("rollout-") for name in ending.artifacts)
    assert any("sed -i s/a-b/a+b/" in line for line in lines)
    assert "Mended." in lines
    assert "Mend add." in str(requests[0]["body"])
    assert requests[0]["headers"]["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("model", ["gpt-6.1-sol", "gpt-5.5"])
def test_it_works_with_each_kind_of_tools_that_models_are_given(sandbox, model):
    change = patch(
        "*** Begin Patch\n*** Update File: calc.py\n@@\n-def add(a, b): return a-b\n" + FIXED + "\n*** End Patch"
    )
    steps = [Step(items=[change]), Step(items=[shell("echo new > notes.txt")]), Step(items=[say("Mended.")])]
    ending, lines, _ = run(sandbox, steps, agent=codex(model=model))
    assert FIXED in sandbox.diff()
    assert "+new" in sandbox.diff()
    assert ending.error == ""
    assert ending.detail["model_used"] == model
    assert any("update" in line and "calc.py" in line for line in lines)


def test_neither_key_nor_token_reaches_the_commands_and_the_key_is_nowhere_in_the_sandbox(sandbox):
    probe = shell("env > seen.txt; echo path:$PATH >> seen.txt")
    ending, lines, _ = run(
        sandbox, [Step(items=[probe]), Step(items=[say("Done.")])], agent=codex(env={"MARK": "blue"})
    )
    seen = Path(sandbox.workdir, "seen.txt").read_text()
    assert "MARK=blue" in seen
    assert "ONESHOT_MODEL_TOKEN" not in seen
    # The environment's own tools come first on PATH; a login shell would have put the system's back.
    assert f":{os.environ['PATH']}\n" in seen
    for path in Path(sandbox.home).parent.rglob("*"):
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
    agent = codex(model="gpt-5.5", reasoning_effort="low", web_search=True)
    _, _, requests = run(sandbox, [Step(items=[say("Done.")])], agent=agent)
    body = requests[0]["body"]
    assert body["model"] == "gpt-5.5"
    assert body["reasoning"]["effort"] == "low"
    assert "web_search" in str(body["tools"])
    _, _, requests = run(sandbox, [Step(items=[say("Done.")])], agent=codex(model="gpt-5.5"))
    assert "web_search" not in str(requests[0]["body"]["tools"])


@pytest.mark.parametrize(
    ("step", "error", "says"),
    [
        (http_error(401, "Incorrect API key provided", "invalid_api_key"), AgentError, "OPENAI_API_KEY"),
        (http_error(404, "The model does not exist", "model_not_found"), AgentError, "model's name"),
        (http_error(429, "You exceeded your quota", "insufficient_quota"), AgentError, "no credit"),
        (http_error(500, "boom", "server_error"), InfraError, "did not answer"),
        (Step(error={"code": "server_error", "message": "boom"}), InfraError, "did not answer"),
        (Step(drops=True), InfraError, "did not answer"),
    ],
)
def test_when_nothing_was_tried_the_fault_is_told_and_nothing_is_graded(sandbox, step, error, says):
    with pytest.raises(error, match=says):
        run(sandbox, [step])


def test_a_service_that_is_down_is_an_outage(sandbox):
    down = codex(service={"base_url": "http://127.0.0.1:1/v1"})
    with pytest.raises(InfraError, match="did not answer"):
        run(sandbox, [], agent=down)


def test_a_relay_that_cannot_be_reached_is_an_outage(sandbox):
    agent = codex()("http://127.0.0.1:1/v1")
    lost = Assignment(
        instructions="x", reference_diff=b"", timeout_s=30, model_url="http://127.0.0.1:1/v1", model_token="t"
    )
    with pytest.raises(InfraError, match="did not answer"):
        agent.run(sandbox, lost, lambda source, text: None)


@pytest.mark.parametrize(
    ("step", "says"),
    [
        (http_error(500, "boom", "server_error"), "boom"),
        (http_error(401, "the key has just expired", "invalid_api_key"), "expired"),
        (Step(items=[shell("echo half > half.txt")], drops=True), "stream"),
        (Step(error={"code": "server_error", "message": "gone"}), "gone"),
    ],
)
def test_a_run_that_fails_half_way_keeps_its_diff_and_its_tokens(sandbox, step, says):
    ending, _, _ = run(sandbox, [Step(items=[FIX]), step])
    assert FIXED in sandbox.diff()
    assert ending.exit_code == 1
    assert ending.outcome == ""
    assert says in ending.error
    assert ending.tokens_input == 1000


def test_a_service_that_never_answers_ends_in_a_timeout_with_the_diff(sandbox):
    started = time.monotonic()
    ending, _, _ = run(sandbox, [Step(items=[FIX]), Step(hangs=True)], timeout_s=3)
    assert time.monotonic() - started < 10
    assert ending.outcome == "timeout"
    assert "3 s" in ending.error
    assert FIXED in sandbox.diff()
    assert (ending.tokens_input, ending.tokens_output) == (1000, 50)
    assert any(name.startswith("rollout-") for name in ending.artifacts)


@pytest.mark.parametrize(
    "step",
    [
        Step(items=[refuse("I cannot help with that.")]),
        Step(error={"code": "invalid_prompt", "message": "Your prompt was flagged: it violates our usage policy."}),
        Step(items=[say("half")], incomplete="content_filter"),
        http_error(400, "The response was filtered.", "content_filter"),
    ],
)
def test_a_refusal_is_an_outcome_and_what_was_done_before_it_is_kept(sandbox, step):
    ending, _, _ = run(sandbox, [Step(items=[FIX]), step])
    assert ending.outcome == "refused"
    assert ending.error
    assert FIXED in sandbox.diff()


def test_words_that_only_sound_like_a_refusal_are_none(sandbox):
    ending, _, _ = run(sandbox, [Step(items=[say("I'm sorry, but I cannot find the bug.")])])
    assert (ending.outcome, ending.error) == ("", "")


def test_a_spent_budget_is_an_outcome(sandbox):
    agent = codex(service={"token_budget": 500})
    ending, _, requests = run(sandbox, [Step(items=[FIX]), Step(items=[say("Done.")])], agent=agent)
    assert ending.outcome == "budget_exhausted"
    assert "500 tokens" in ending.error
    assert len(requests) == 1
    assert FIXED in sandbox.diff()


def test_a_setting_that_codex_does_not_take_is_the_configurations_fault(sandbox):
    with pytest.raises(AgentError, match="did not begin"):
        run(sandbox, [Step(items=[say("Done.")])], agent=codex(config={"model_reasoning_summary": 5}))


def test_a_codex_that_is_not_there_is_told_with_the_mend(monkeypatch, settings, tmp_path):
    settings.DATA_DIR = tmp_path
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(npm, "global_root", lambda: "")
    agent = agents.load(AgentConfig(kind="codex", name="codex", version="9.9.9"))
    assert "npm install -g @openai/codex" in agent.check()
    with pytest.raises(AgentError, match="without npm it cannot be installed"):
        agent.prepare(lambda source, text: None)


def test_it_is_found_by_its_directory_and_by_version(monkeypatch, settings, tmp_path):
    found = CODEX.find()
    assert found is not None
    assert (found.root / "bin" / "codex-code-mode-host").is_file()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(npm, "global_root", lambda: "")
    settings.DATA_DIR = tmp_path
    assert CODEX.find() is None
    settings.CODEX_HOME_DIR = str(found.root)
    assert CODEX.find(found.version) == found
    assert CODEX.find("0.0.1") is None
