"""The real Claude Code in real sandboxes, whose only way out is the relay."""

import shlex

import pytest

from runs import agents
from runs.models import AgentConfig
from tests.agents.in_sandbox import DOCKER, attempt, image_for, provider_named
from tests.servers.anthropic import Step, bash, http_error, say, scripted_messages

pytestmark = pytest.mark.claude

KEY = "sk-ant-test-0123456789abcdefghijklmn"
FIX = bash("sed -i s/a-b/a+b/ calc.py && sh check.sh && environment-tool > tool.txt")


@pytest.fixture(params=[DOCKER, "local", "none"])
def provider(request):
    return provider_named(request.param)


@pytest.fixture
def run(provider, tmp_path, monkeypatch):
    """Return a function that runs Claude Code against steps and gives (ending, diff, look)."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    image = image_for(provider, tmp_path)
    held = []

    def run(steps, *, timeout_s=60.0):
        with scripted_messages(steps) as service:
            settings = {
                "request_retries": 0,
                "service": {"base_url": service.url, "key_env": "ANTHROPIC_API_KEY"},
            }
            config = AgentConfig(kind="claude_code", name="c", model="claude-sonnet-4-5", settings=settings)
            return attempt(provider, image, agents.load(config), held, timeout_s=timeout_s, memory_mb=2048)

    yield run
    for sandbox in held:
        sandbox.destroy()


def test_it_solves_the_task_with_the_tools_of_the_environment(run):
    searching = bash("grep -n 'def add' calc.py")
    ending, diff, look = run([Step(items=[searching]), Step(items=[FIX]), Step(items=[say("Mended.")])])
    assert (ending.exit_code, ending.outcome, ending.error) == (0, "", "")
    assert "+def add(a, b): return a+b" in diff
    assert look("cat tool.txt") == "from the environment\n"
    assert ending.final_message == "Mended."
    assert (ending.tokens_input, ending.tokens_cached, ending.tokens_output) == (3000, 600, 150)
    assert list(ending.transcripts) == [f"{ending.detail['thread_id']}.jsonl"]


def test_the_key_is_not_in_the_sandbox_and_the_network_leads_to_the_relay_only(run, provider):
    listing = (
        "env > ~/env.txt; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n' > ~/environ.txt; id -u > ~/id.txt; "
        "timeout 5 bash -c 'exec 3<>/dev/tcp/1.1.1.1/443' 2> ~/way.txt || echo no way >> ~/way.txt"
    )
    ending, _, look = run([Step(items=[bash(listing)]), Step(items=[say("Done.")])])
    assert ending.error == ""
    assert "ANTHROPIC_BASE_URL" in look("cat ~/env.txt")
    assert look("cat ~/id.txt").strip() != "0" or provider.isolation() == "none"
    assert "no way" in look("cat ~/way.txt") or provider.isolation() == "none"
    assert look(f"grep -rlF {shlex.quote(KEY)} ~ . 2>/dev/null") == ""
    assert not any(KEY.encode() in data for _, data in ending.artifacts.values())


@pytest.mark.parametrize("provider", [DOCKER, "local"], indirect=True)
@pytest.mark.parametrize(
    ("last", "outcome", "says"),
    [
        (http_error(500, "boom", "api_error"), "", "boom"),
        (Step(items=[say("I will not.")], stop_reason="refusal"), "refused", "refused"),
        (Step(hangs=True), "timeout", "4 s"),
    ],
    ids=["fails", "refuses", "hangs"],
)
def test_however_it_ends_its_diff_is_kept(run, last, outcome, says):
    ending, diff, _ = run([Step(items=[FIX]), last], timeout_s=4)
    assert ending.outcome == outcome
    assert says in ending.error
    assert "+def add(a, b): return a+b" in diff
    assert (ending.tokens_input or 0) >= 1000
    assert ending.transcripts
