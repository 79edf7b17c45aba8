"""From the agent's start to the task draft with its trace: real agent, real gateway, scripted model."""

import json
from pathlib import Path

import pytest

from tests.mcp.speaking import rows
from tests.proxy.running import running_gateway
from tests.servers import anthropic
from tests.servers.responses import scripted_responses
from tests.wrappers.test_agents import BYPASS, EDIT, QUIET, log_in, mcp, work

pytestmark = pytest.mark.gateway


def check(person, gateway, agent):
    (row,) = rows(person.data_dir, "SELECT * FROM tasks_capture")
    assert (row["status"], row["agent"]) == ("ended", agent)
    exchanges = gateway.wait_for_rows(4)
    assert {one["session"] for one in exchanges} == {row["thread_id"]}
    assert {one["door"] for one in exchanges} == {"reverse"}
    (session,) = rows(person.data_dir, "SELECT * FROM traces_session")
    assert session["thread_id"] == row["thread_id"]
    (folder,) = (person.data_dir / "captures").iterdir()
    trace = json.loads(next(Path(folder).rglob("session_clean.json")).read_text())
    assert trace["traces"]


@pytest.mark.codex
def test_codex_leaves_a_task_with_its_trace(person, tmp_path):
    log_in(person, {"auth_mode": "apikey", "OPENAI_API_KEY": "sk-test-0123456789abcdef"})
    # As someone who keeps Codex' files elsewhere; Codex does not pass the variable on to its servers.
    person.env["CODEX_HOME"] = str(person.home / "codex files")
    (person.home / ".codex").rename(person.home / "codex files")
    with (
        scripted_responses(work(mcp)) as service,
        running_gateway(tmp_path, {"openai": service.url.removesuffix("/v1")}) as gateway,
    ):
        person.env["ONESHOT_GATEWAY_PORT"] = str(gateway.port)
        done = person.run("codex", *QUIET, "exec", BYPASS, "-m", "scripted-1", "--json", "Mend add.")
        assert "oneshot:" not in done.stderr
        check(person, gateway, "codex")


@pytest.mark.claude
def test_claude_leaves_a_task_with_its_trace(person, tmp_path):
    steps = [
        anthropic.Step(items=[anthropic.tool("repo_start_task_v1", task_title="Mend add", notes="add subtracts")]),
        anthropic.Step(items=[anthropic.bash(EDIT)]),
        anthropic.Step(items=[anthropic.tool("repo_end_task_v1", summary="It adds now.")]),
        anthropic.Step(items=[anthropic.say("Mended.")]),
    ]
    person.env |= {"ANTHROPIC_API_KEY": "x", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"}
    with (
        anthropic.scripted_messages(steps) as service,
        running_gateway(tmp_path, {"anthropic": service.url}) as gateway,
    ):
        person.env["ONESHOT_GATEWAY_PORT"] = str(gateway.port)
        done = person.run("claude", "-p", "Mend add.", "--allowedTools", "Bash", "--model", "claude-sonnet-4-5")
        assert "oneshot:" not in done.stderr
        check(person, gateway, "claude_code")
