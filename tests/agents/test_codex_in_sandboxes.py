"""The real Codex CLI in real sandboxes, whose only way out is the relay."""

import shlex

import pytest

from runs import agents
from runs.models import AgentConfig
from tests.agents.in_sandbox import DOCKER, attempt, image_for, provider_named
from tests.servers.responses import Step, http_error, refuse, say, scripted_responses, shell

pytestmark = pytest.mark.codex

KEY = "sk-test-0123456789abcdefghijklmn"
FIX = shell("sed -i s/a-b/a+b/ calc.py && sh check.sh && environment-tool > tool.txt")


@pytest.fixture(params=[DOCKER, "local", "none"])
def provider(request):
    return provider_named(request.param)


@pytest.fixture
def run(provider, tmp_path, monkeypatch):
    """Return a function that runs Codex against steps and gives (ending, diff, look), look reading the sandbox."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    image = image_for(provider, tmp_path)
    held = []

    def run(steps, *, model="gpt-6.1-sol", timeout_s=60.0):
        with scripted_responses(steps) as service:
            settings = {
                "request_retries": 0,
                "stream_retries": 0,
                "service": {"base_url": service.url, "key_env": "OPENAI_API_KEY"},
            }
            agent = agents.load(AgentConfig(kind="codex", name="codex", model=model, settings=settings))
            return attempt(provider, image, agent, held, timeout_s=timeout_s)

    yield run
    for sandbox in held:
        sandbox.destroy()


def test_it_solves_the_task_with_the_tools_of_the_environment(run):
    # This model works in "code mode": without the binary's sibling every one of its calls would fail.
    ending, diff, look = run([Step(items=[FIX]), Step(items=[say("Mended.")])])
    assert (ending.exit_code, ending.outcome, ending.error) == (0, "", "")
    assert "+def add(a, b): return a+b" in diff
    assert look("cat tool.txt") == "from the environment\n"
    assert ending.final_message == "Mended."
    assert (ending.tokens_input, ending.tokens_cached, ending.tokens_output) == (2000, 400, 100)
    assert any(name.startswith("rollout-") for name in ending.artifacts)


def test_the_key_is_not_in_the_sandbox_and_the_network_leads_to_the_relay_only(run, provider):
    listing = "env > ~/env.txt; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n' > ~/environ.txt; id -u > ~/id.txt"
    ending, _, look = run([Step(items=[shell(listing)]), Step(items=[say("Done.")])])
    assert ending.error == ""
    assert "ONESHOT_MODEL_TOKEN" not in look("cat ~/env.txt")
    assert look("cat ~/id.txt").strip() != "0" or provider.isolation() == "none"
    assert look(f"grep -rlF {shlex.quote(KEY)} ~ . 2>/dev/null") == ""
    assert not any(KEY.encode() in data for _, data in ending.artifacts.values())


@pytest.mark.parametrize("provider", [DOCKER, "local"], indirect=True)
@pytest.mark.parametrize(
    ("last", "outcome", "says"),
    [
        (http_error(500, "boom", "server_error"), "", "boom"),
        (Step(items=[shell("echo half > half.txt")], drops=True), "", "stream"),
        (Step(items=[refuse("I will not.")]), "refused", "refused"),
        (Step(hangs=True), "timeout", "4 s"),
    ],
    ids=["fails", "breaks off", "refuses", "hangs"],
)
def test_however_it_ends_its_diff_is_kept(run, last, outcome, says):
    ending, diff, _ = run([Step(items=[FIX]), last], timeout_s=4)
    assert ending.outcome == outcome
    assert says in ending.error
    assert "+def add(a, b): return a+b" in diff
    assert (ending.tokens_input or 0) >= 1000
