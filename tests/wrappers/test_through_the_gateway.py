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


def check(person, gateway, agent, thread):
    (row,) = rows(person.data_dir, "SELECT * FROM tasks_capture")
    assert (row["status"], row["agent"], row["title"]) == ("ended", agent, "Mend add")
    assert row["thread_id"] == thread
    assert json.loads(row["detail"])["end"]["touched_files"] == ["adder.py", "new.txt"]
    assert "return a + b" in (person.repository / "adder.py").read_text()
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
        check(person, gateway, "codex", json.loads(done.stdout.splitlines()[0])["thread_id"])
    calls = [json.loads(line)["item"] for line in done.stdout.splitlines() if '"mcp_tool_call"' in line]
    ended = [one for one in calls if one["tool"] == "repo.end_task.v1" and one["status"] == "completed"]
    assert sorted(json.loads(ended[0]["result"]["content"][0]["text"])["touched_files"]) == ["adder.py", "new.txt"]
    assert not (person.home / "codex files" / "config.toml").exists()


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
        # Without a blanket permission: the task tools alone, and what the person allows, may be called.
        options = ["--output-format", "stream-json", "--verbose", "--allowedTools", "Bash"]
        done = person.run("claude", "-p", "Mend add.", *options, "--model", "claude-sonnet-4-5")
        assert "oneshot:" not in done.stderr
        check(person, gateway, "claude_code", json.loads(done.stdout.splitlines()[0])["session_id"])
    assert not (person.repository / ".mcp.json").exists()
    assert "oneshot" not in (person.home / ".claude.json").read_text().replace(str(person.repository), "")
