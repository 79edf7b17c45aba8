"""The real Codex CLI in real sandboxes, whose only way out is the relay."""

import shlex

import pytest

from runs import agents, sandboxes
from runs.agents.base import Assignment
from runs.models import AgentConfig
from runs.relay import open_door
from runs.sandboxes.base import Limits, SandboxSpec
from runs.sandboxes.local import LocalProvider
from tests.agents.prepared import docker_image, local_image
from tests.servers.responses import Step, http_error, refuse, say, scripted_responses, shell

pytestmark = pytest.mark.codex

KEY = "sk-test-0123456789abcdefghijklmn"
FIX = shell("sed -i s/a-b/a+b/ calc.py && sh check.sh && environment-tool > tool.txt")


DOCKER = pytest.param("docker", marks=pytest.mark.docker)


@pytest.fixture(params=[DOCKER, "local", "none"])
def provider(request):
    """A provider of each kind; "none" is the local sandbox where nothing isolates it, so that no path is remapped."""
    provider = LocalProvider("none") if request.param == "none" else sandboxes.get(request.param)
    if problem := provider.available():
        pytest.skip(problem)
    return provider


@pytest.fixture
def run(provider, tmp_path, monkeypatch):
    """Return a function that runs Codex against steps and gives (ending, diff, look), look reading the sandbox."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    image = docker_image() if provider.name == "docker" else local_image(tmp_path / "image")
    held = []

    def run(steps, *, model="gpt-6.1-sol", timeout_s=60.0):
        with scripted_responses(steps) as service:
            settings = {
                "request_retries": 0,
                "stream_retries": 0,
                "service": {"base_url": service.url, "key_env": "OPENAI_API_KEY"},
            }
            agent = agents.load(AgentConfig(kind="codex", name="codex", model=model, settings=settings))
            listen, host = provider.door_host()
            with open_door(agent.model(), listen) as door:
                labels = {
                    "oneshot.instance": sandboxes.instance(),
                    "oneshot.run": "agents-test",
                    "oneshot.try": "1",
                    "oneshot.purpose": "run",
                }
                spec = SandboxSpec(
                    image=image,
                    labels=labels,
                    limits=Limits(memory_mb=1024, lifetime_s=120),
                    network="model-only",
                    mounts=agent.mounts(),
                    door=door.door,
                )
                sandbox = provider.create(spec)
                held.append(sandbox)
                assignment = Assignment(
                    instructions="Mend add.",
                    reference_diff=b"",
                    timeout_s=timeout_s,
                    model_url=door.url(host),
                    model_token=door.door.token,
                    model_use=door.usage,
                )
                ending = agent.run(sandbox, assignment, lambda source, text: None)

        def look(command):
            return sandbox.exec(["sh", "-c", command], timeout_s=30).stdout.decode()

        return ending, look("git -c safe.directory=* diff"), look

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
    listing = (
        "env > /tmp/env.txt; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n' > /tmp/environ.txt; id -u > /tmp/id.txt"
    )
    ending, _, look = run([Step(items=[shell(listing)]), Step(items=[say("Done.")])])
    assert ending.error == ""
    assert "ONESHOT_MODEL_TOKEN" not in look("cat /tmp/env.txt")
    assert look("cat /tmp/id.txt").strip() != "0" or provider.isolation() == "none"
    assert look(f"grep -rlF {shlex.quote(KEY)} /tmp/env.txt /tmp/environ.txt ~ . 2>/dev/null") == ""
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
