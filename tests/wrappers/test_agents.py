"""The real Codex and Claude Code through `oneshot codex` and `oneshot claude`, with the task tools."""

import json
import os
import signal
import subprocess
import sys
import tomllib

import pytest

from tests.installation import wait_for
from tests.mcp.speaking import rows
from tests.servers import anthropic
from tests.servers.responses import Step, say, scripted_responses, shell
from tests.wrappers.passing import passing

EDIT = "sed -i s/a-b/a+b/ adder.py; sed -i 's/a - b/a + b/' adder.py; echo new > new.txt"
QUIET = ["-c", "check_for_update_on_startup=false", "-c", "analytics.enabled=false"]
for feature in ("plugins", "remote_plugin", "apps"):
    QUIET += ["--disable", feature]
BYPASS = "--dangerously-bypass-approvals-and-sandbox"


def mcp(number, tool, arguments):
    """Return a call of a task tool, as a model makes it that sees the tools themselves."""
    return {
        "type": "function_call",
        "namespace": "mcp__oneshot",
        "name": tool,
        "arguments": json.dumps(arguments),
        "call_id": f"call_s{number}_0",
    }


def mcp_in_code(number, tool, arguments):
    """Return the same in "code mode", where the model writes JavaScript."""
    code = f"const r = await tools.mcp__oneshot__{tool}({json.dumps(arguments)}); text(JSON.stringify(r));"
    return {
        "type": "custom_tool_call",
        "namespace": "functions",
        "name": "exec",
        "input": code,
        "call_id": f"call_s{number}_0",
    }


def work(call):
    return [
        Step(items=[call(0, "repo_start_task_v1", {"task_title": "Mend add", "notes": "add subtracts"})]),
        Step(items=[shell(EDIT)]),
        Step(items=[call(2, "repo_end_task_v1", {"summary": "It adds now."})]),
        Step(items=[say("Mended.")]),
    ]


def log_in(person, document):
    (person.home / ".codex").mkdir(exist_ok=True)
    (person.home / ".codex" / "auth.json").write_text(json.dumps(document))


def files_of(home):
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}


@pytest.mark.codex
def test_codex_records_a_task_when_the_model_writes_code_to_call_tools(person):
    log_in(person, {"auth_mode": "apikey", "OPENAI_API_KEY": "sk-test-0123456789abcdef"})
    with scripted_responses(work(mcp_in_code)) as service, passing({"/openai/v1": service.url}) as gateway:
        person.env["ONESHOT_GATEWAY_PORT"] = str(gateway.port)
        done = person.run("codex", *QUIET, "exec", BYPASS, "-m", "gpt-6.1-sol", "--json", "Mend add.")
        assert all(path.startswith("/openai/v1/") for path in gateway.seen)
        assert len([path for path in gateway.seen if path.endswith("/responses")]) >= 4
    assert "oneshot:" not in done.stderr
    calls = [json.loads(line)["item"] for line in done.stdout.splitlines() if '"mcp_tool_call"' in line]
    ended = [one for one in calls if one["tool"] == "repo.end_task.v1" and one["status"] == "completed"]
    assert ended, done.stdout + done.stderr
    (row,) = rows(person.data_dir, "SELECT * FROM tasks_capture")
    assert (row["status"], row["agent"], row["title"]) == ("ended", "codex", "Mend add")
    thread = json.loads(done.stdout.splitlines()[0])["thread_id"]
    assert row["thread_id"] == thread
    result = json.loads(ended[0]["result"]["content"][0]["text"])
    assert sorted(result["touched_files"]) == ["adder.py", "new.txt"]
    assert not (person.home / ".codex" / "config.toml").exists()


@pytest.mark.codex
def test_codex_with_a_service_of_the_users_own_goes_through_the_forward_door(person):
    with scripted_responses([Step(items=[shell("env > seen.txt")]), Step(items=[say("Done.")])]) as service:
        (person.home / ".codex").mkdir()
        (person.home / ".codex" / "config.toml").write_text(
            f'model = "scripted-1"\nmodel_provider = "own"\n[model_providers.own]\nname = "own"\n'
            f'base_url = "{service.url}"\nwire_api = "responses"\n'
        )
        before = (person.home / ".codex" / "config.toml").read_bytes()
        ca = person.data_dir / "proxy" / "ca" / "mitmproxy-ca-cert.pem"
        ca.parent.mkdir(parents=True, exist_ok=True)
        ca.write_text("")
        with passing({}) as gateway:
            person.env["ONESHOT_GATEWAY_PORT"] = str(gateway.port)
            person.run("codex", *QUIET, "exec", BYPASS, "Look.")
            assert f"{service.url}/responses" in gateway.seen
        seen = (person.repository / "seen.txt").read_text()
        assert "HTTPS_PROXY" not in seen
        assert "HTTP_PROXY" not in seen
        assert "CODEX_CA_CERTIFICATE" not in seen
        config = tomllib.loads((person.home / ".codex" / "config.toml").read_text())
        assert "mcp_servers" not in config
        assert tomllib.loads(before.decode())["model_providers"] == config["model_providers"]


@pytest.mark.codex
def test_without_a_gateway_codex_says_so_and_starts_all_the_same(person):
    with scripted_responses([Step(items=[say("Done.")])]) as service:
        own = ["-c", f'model_providers.own={{name="own",base_url="{service.url}",wire_api="responses"}}']
        done = person.run("codex", *QUIET, "-c", "model_provider=own", *own, "exec", BYPASS, "-m", "scripted-1", "Hi.")
        assert service.requests
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("oneshot:")]
    assert "oneshot up" in line


@pytest.mark.codex
def test_what_asks_no_model_is_left_alone(person):
    done = person.run("codex", "--version")
    assert done.stdout.startswith("codex-cli ")
    assert done.stderr == ""
    assert "oneshot" not in person.run("codex", "mcp", "list").stdout


@pytest.mark.claude
def test_claude_with_an_address_of_the_users_own_goes_through_the_forward_door(person):
    ca = person.data_dir / "proxy" / "ca" / "mitmproxy-ca-cert.pem"
    ca.parent.mkdir(parents=True, exist_ok=True)
    ca.write_text("")
    with anthropic.scripted_messages([anthropic.Step(items=[anthropic.say("Done.")])]) as service:
        person.env |= {
            "ANTHROPIC_API_KEY": "x",
            "ANTHROPIC_BASE_URL": service.url,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        }
        with passing({}) as gateway:
            person.env["ONESHOT_GATEWAY_PORT"] = str(gateway.port)
            person.run("claude", "-p", "Hi.", "--model", "claude-sonnet-4-5")
            assert any(path.startswith(f"{service.url}/v1/messages") for path in gateway.seen)


@pytest.mark.codex
def test_a_signal_reaches_codex_itself(person):
    with scripted_responses([Step(hangs=True)]) as service:
        own = ["-c", f'model_providers.own={{name="own",base_url="{service.url}",wire_api="responses"}}']
        words = ["codex", *QUIET, "-c", "model_provider=own", *own, "exec", BYPASS, "-m", "scripted-1", "Hi."]
        process = subprocess.Popen(
            [sys.executable, "-m", "oneshot", *words],
            cwd=person.repository,
            env=person.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_for(lambda: any(request["method"] == "POST" for request in service.requests), "the first request")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(20) != 0
