"""Configurations of agents: read from files and options, and kept by what they say."""

import pytest

from runs import agents
from runs.agents import registry
from runs.agents.npm import Installation, NativePackage
from runs.errors import AgentError
from runs.models import AgentConfig

FULL = """
name = "my agent"
version = "1.2"
model = "m-1"
command = "python3 ~/agent.py"
setup = "pip install --user rich"
setup_timeout_s = 120
timeout_s = 600

[env]
MODE = "fast"
RETRIES = 3

[files]
"agent.py" = {from = "agent.py"}
".config/agent.toml" = "depth = 2"

[service]
base_url = "https://models.example.org/v1/"
key_env = "EXAMPLE_API_KEY"
header = "api-key"
token_budget = 200000
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="agent.toml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


@pytest.mark.django_db
def test_a_file_says_everything_about_an_agent(write):
    write("print('hi')\n", "agent.py")
    config = agents.from_file(write(FULL))
    assert (config.kind, config.name, config.version, config.model) == ("command", "my agent", "1.2", "m-1")
    assert config.settings["files"] == {"agent.py": "print('hi')\n", ".config/agent.toml": "depth = 2"}
    assert config.settings["env"] == {"MODE": "fast", "RETRIES": "3"}
    need = agents.load(config).model()
    assert (need.base_url, need.key_env, need.header) == (
        "https://models.example.org/v1",
        "EXAMPLE_API_KEY",
        "api-key",
    )
    assert need.token_budget == 200000


@pytest.mark.django_db
def test_the_same_said_twice_is_one_row_and_any_difference_is_another(write):
    first = agents.from_file(write('command = "true"'))
    said = agents.from_file(write('kind = "command"\ncommand = "true"\nsetup = ""\nsetup_timeout_s = 600'))
    assert said.pk == first.pk == agents.from_options("command", command="true").pk
    others = [
        agents.from_options("command", command="true "),
        agents.from_options("command", command="true", model="m"),
        agents.from_file(write('command = "true"\n[env]\nA = "1"')),
    ]
    assert len({config.pk for config in [first, *others]}) == 4


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('comand = "true"', r"agent.toml, comand: There is no setting 'comand'\. Did you mean command\?"),
        ('command = "true"\n[service]\nbaseurl = "x"', r"service.baseurl: .*Did you mean base_url"),
        ('command = "true"\n[service]\nbase_url = "ftp://x"', r"service.base_url: .*no http or https URL"),
        ('command = "true"\n[service]\nkey_env = "DATABASE_URL"', r"service.key_env: .*cannot name a model key"),
        ('command = "true"\n[service.extra_headers]\nX-Api-Key = "abc"', r"service.extra_headers.*secret"),
        ('command = "true"\ntimeout_s = 0', r"timeout_s: It must be a number of seconds above 0\. It is '0'"),
        ('command = "true"\ntimeout_s = "soon"', "timeout_s: It must be a number"),
        ('command = ""', "command: It must be a line for the shell"),
        ("command = []", "command: It must be a line for the shell"),
        ('setup = "true"', "needs 'command'"),
        ('command = "true"\n[env]\nKEY = "$MY_TOKEN"', r"env.KEY: .*secrets never enter a sandbox"),
        ('command = "true"\n[env]\n"A B" = "x"', "env.A B: This is no name"),
        ('command = "true"\n[files]\n"../x" = "y"', r"files.\.\./x: The path must lead below"),
        ('command = "true"\n[files]\n"/etc/x" = "y"', "files./etc/x: The path must lead below"),
        ('command = "true"\n[files]\nx = {from = "../secret"}', "leaves the directory of agent.toml"),
        ('command = "true"\n[files]\nx = {from = "missing"}', "files.x: 'missing' cannot be read"),
        ('kind = "codx"', "kind: There is no kind of agent 'codx'. Did you mean codex?"),
        ('kind = "nop"\ncommand = "x"', "There is no setting 'command'"),
        ("kind = 3", "There is no kind of agent '3'"),
        ("name = 3", "name: It must be a text"),
        ("command = ", "agent.toml: is no TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_the_mend(write, text, says):
    with pytest.raises(agents.BadConfiguration, match=says):
        agents.from_file(write(text))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(agents.BadConfiguration, match=r"nowhere.toml: cannot be read: No such file"):
        agents.from_file(tmp_path / "nowhere.toml")


@pytest.mark.django_db
def test_options_make_a_codex_with_its_version(monkeypatch):
    monkeypatch.setattr(NativePackage, "find", lambda self, version="": Installation(root=None, version="1.2.3"))
    config = agents.from_options(
        "codex", model="gpt-x", effort="high", base_url="http://127.0.0.1:9/v1", key_env="LOCAL_API_KEY"
    )
    assert (config.version, config.model) == ("1.2.3", "gpt-x")
    assert config.settings["reasoning_effort"] == "high"
    assert agents.load(config).model().key_env == "LOCAL_API_KEY"
    plain = agents.from_options("codex", model="gpt-x", base_url="https://api.openai.com/v1")
    assert plain.settings == {}
    need = agents.load(plain).model()
    assert (need.base_url, need.key_env) == ("https://api.openai.com/v1", "OPENAI_API_KEY")


@pytest.mark.parametrize(
    ("kind", "options", "says"),
    [
        ("command", {}, "needs 'command'"),
        ("command", {"command": "true", "effort": "high"}, "takes no --effort"),
        ("nop", {"command": "true"}, "takes no --command"),
        ("oracle", {"base_url": "http://x/v1"}, "takes no --base-url"),
        ("kodex", {}, "Did you mean codex"),
        ("codex", {"effort": "HIGH!"}, "reasoning_effort: It must be an effort"),
    ],
)
def test_options_that_an_agent_does_not_take_are_told(kind, options, says):
    with pytest.raises(agents.BadConfiguration, match=says):
        agents.from_options(kind, **options)


def test_an_own_service_without_a_named_key_gets_none_of_openais():
    config = AgentConfig(kind="codex", name="c", settings={"service": {"base_url": "http://10.0.0.5/v1"}})
    assert agents.load(config).model().key_env == ""


def test_a_row_that_was_edited_badly_is_told_when_it_is_loaded():
    with pytest.raises(AgentError, match=r"agent mine, tmeout_s: .*Did you mean timeout_s"):
        agents.load(AgentConfig(kind="command", name="mine", settings={"command": "true", "tmeout_s": 4}))
    with pytest.raises(AgentError, match="no kind of agent 'gone'"):
        agents.load(AgentConfig(kind="gone", name="x"))


def test_a_plug_in_of_another_package_is_found(monkeypatch):
    from importlib.metadata import EntryPoint

    entry = EntryPoint("mine", "runs.agents.plain:NopAgent", registry.GROUP)
    broken = EntryPoint("broken", "no.such.module:Agent", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry, broken])
    assert agents.kinds() == ["oracle", "nop", "command", "codex", "claude_code", "broken", "mine"]
    assert agents.load_by_kind("mine").check() == ""
    with pytest.raises(AgentError, match="plug-in 'broken'"):
        agents.load_by_kind("broken")
