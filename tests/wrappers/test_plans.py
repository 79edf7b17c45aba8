"""What the wrappers decide: which way the requests go, what is added, and what is left as the user has it."""

import json
import os
import stat
import subprocess
import tomllib
from io import StringIO
from itertools import pairwise
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from tasks.capture.stanza import Stanza, stanza
from tasks.wrappers import claude, codex, launch
from tasks.wrappers.gateway import Gateway, find
from tests.wrappers.passing import passing
from traces.proxy.wire.schema import installation_of

SERVER = Stanza("/venv/bin/python", ["-m", "oneshot"], {"ONESHOT_DATA_DIR": "/data"})
KEY = {"auth_mode": "apikey", "OPENAI_API_KEY": "sk-x"}
CHATGPT = {"auth_mode": "chatgpt", "tokens": {"access_token": "x"}}


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home" / ".codex").mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def gateway(tmp_path):
    ca = tmp_path / "data" / "proxy" / "ca" / "mitmproxy-ca-cert.pem"
    ca.parent.mkdir(parents=True)
    ca.write_text("OUR CA\n")
    return Gateway("127.0.0.1", 18080, tmp_path / "data")


def plan_codex(home, gateway, args=(), env=None, config="", auth=None):
    if config:
        (home / ".codex" / "config.toml").write_text(config)
    if auth is not None:
        (home / ".codex" / "auth.json").write_text(json.dumps(auth))
    return codex.plan(list(args), {"CODEX_HOME": str(home / ".codex"), **(env or {})}, home, gateway, SERVER)


def overrides(plan):
    """Return what the options before the user's set, as Codex reads them."""
    words = plan.args
    return {
        word.partition("=")[0]: tomllib.loads(f"x={word.partition('=')[2]}")["x"]
        for flag, word in pairwise(words)
        if flag == "-c"
    }


@pytest.mark.parametrize(
    ("auth", "path"),
    [(KEY, "/openai/v1"), (CHATGPT, "/chatgpt/backend-api/codex"), ({"tokens": {"a": "b"}}, "/chatgpt")],
)
def test_codex_own_service_is_reached_by_its_base_url(home, gateway, auth, path):
    plan = plan_codex(home, gateway, ["exec", "Hi."], auth=auth)
    assert overrides(plan)["openai_base_url"].startswith(f"http://127.0.0.1:18080{path}")
    assert plan.args[-2:] == ["exec", "Hi."]
    assert "HTTPS_PROXY" not in plan.env
    assert plan.notes == []


def test_codex_gets_the_tools_and_the_time_to_start_them(home, gateway):
    found = overrides(plan_codex(home, gateway, auth=KEY))
    server = found["mcp_servers.oneshot"]
    assert (server["command"], server["args"], server["env"]) == (SERVER.command, SERVER.args, SERVER.env)
    assert server["default_tools_approval_mode"] == "approve"
    assert found["mcp_optional_startup_grace_ms"] > 1000


def test_what_is_installed_already_or_set_by_the_user_is_not_set_again(home, gateway):
    config = "mcp_optional_startup_grace_ms = 1\n[mcp_servers.oneshot]\ncommand = 'x'\n"
    assert list(overrides(plan_codex(home, gateway, auth=KEY, config=config))) == ["openai_base_url"]
    args = ["-c", "mcp_servers.oneshot.command=x", "--config=mcp_optional_startup_grace_ms=1"]
    assert len(plan_codex(home, gateway, args, auth=KEY).args) == len(args) + 2


@pytest.mark.parametrize(
    ("args", "config", "auth"),
    [
        ((), 'model_provider = "own"\n', KEY),
        ((), 'openai_base_url = "https://example.org/v1"\n', KEY),
        (("-c", 'model_provider="own"'), "", KEY),
        (("exec", "--config=openai_base_url=https://example.org"), "", KEY),
        (("--oss",), "", KEY),
        ((), "", None),
    ],
)
def test_another_service_goes_through_the_forward_door(home, gateway, args, config, auth):
    plan = plan_codex(home, gateway, args, {"SSL_CERT_FILE": ""}, config, auth)
    assert "openai_base_url" not in overrides(plan)
    assert plan.env["HTTPS_PROXY"] == "http://127.0.0.1:18080"
    assert "OUR CA" in Path(plan.env["CODEX_CA_CERTIFICATE"]).read_text()
    assert "HTTPS_PROXY" in overrides(plan)["shell_environment_policy.exclude"]


def test_a_profile_and_a_project_are_looked_at_too(home, gateway):
    (home / ".codex" / "mine.config.toml").write_text('model_provider = "own"\n')
    assert "HTTPS_PROXY" in plan_codex(home, gateway, ["-p", "mine"], auth=KEY).env
    assert "HTTPS_PROXY" not in plan_codex(home, gateway, auth=KEY).env


def test_the_users_own_excluded_variables_stay_excluded(home, gateway):
    config = 'model_provider = "own"\n[shell_environment_policy]\nexclude = ["MINE_*"]\n'
    assert "MINE_*" in overrides(plan_codex(home, gateway, config=config))["shell_environment_policy.exclude"]


def test_the_users_own_proxy_is_kept_and_it_is_said(home, gateway):
    env = {"HTTPS_PROXY": "http://user:secret@proxy.example:3128"}
    for plan in (
        plan_codex(home, gateway, env=env, auth=KEY),
        claude.plan([], {"CLAUDE_CONFIG_DIR": str(home), **env}, home, gateway, SERVER),
    ):
        assert plan.env["HTTPS_PROXY"] == env["HTTPS_PROXY"]
        assert "openai_base_url" not in overrides(plan)
        assert "ANTHROPIC_BASE_URL" not in plan.env
        (note,) = plan.notes
        assert "proxy.example:3128" in note
        assert "secret" not in note


def test_a_proxy_for_plain_http_does_not_stand_before_the_gateway(home, gateway):
    plan = plan_codex(home, gateway, env={"HTTP_PROXY": "http://proxy.example", "NO_PROXY": "a.b"}, auth=KEY)
    assert plan.env["NO_PROXY"] == "a.b,127.0.0.1,localhost"


@pytest.mark.parametrize("words", [["login"], ["mcp", "list"], ["--version"], ["help"]])
def test_what_asks_no_model_is_passed_on_as_it_is(home, gateway, words):
    assert plan_codex(home, gateway, words, auth=KEY).args == words
    assert claude.plan(["mcp", "list"], {"CLAUDE_CONFIG_DIR": str(home)}, home, gateway, SERVER).args == ["mcp", "list"]


def test_a_broken_configuration_is_named(home, gateway):
    with pytest.raises(ValueError, match=r"config\.toml is no valid TOML"):
        plan_codex(home, gateway, config="= broken")


def plan_claude(home, gateway, args=(), **env):
    return claude.plan(list(args), {"CLAUDE_CONFIG_DIR": str(home), **env}, home, gateway, SERVER)


def test_claude_is_led_to_the_gateway_and_given_the_tools(home, gateway):
    plan = plan_claude(home, gateway, ["-p", "Hi."])
    assert plan.env["ANTHROPIC_BASE_URL"] == "http://127.0.0.1:18080/anthropic"
    servers = json.loads(plan.args[0].removeprefix("--mcp-config="))["mcpServers"]
    assert servers["oneshot"]["command"] == SERVER.command
    assert "mcp__oneshot__repo_start_task_v1" in plan.args[1]
    assert plan.args[2:] == ["-p", "Hi."]


def test_claude_with_the_tools_installed_gets_no_second_server(home, gateway):
    (home / ".claude.json").write_text(json.dumps({"mcpServers": {"oneshot": {}}}))
    assert plan_claude(home, gateway, ["-p", "Hi."]).args == ["-p", "Hi."]


@pytest.mark.parametrize("name", ["ANTHROPIC_BASE_URL", "CLAUDE_CODE_USE_BEDROCK"])
def test_claude_elsewhere_goes_through_the_forward_door(home, gateway, name, tmp_path):
    own = tmp_path / "own.pem"
    own.write_text("OWN CA\n")
    plan = plan_claude(home, gateway, **{name: "https://x.example", "NODE_EXTRA_CA_CERTS": str(own)})
    assert plan.env[name] == "https://x.example"
    assert plan.env["HTTPS_PROXY"] == "http://127.0.0.1:18080"
    trusted = Path(plan.env["NODE_EXTRA_CA_CERTS"]).read_text()
    assert "OUR CA" in trusted
    assert "OWN CA" in trusted
    (home / "settings.json").write_text(json.dumps({"env": {name: "https://x.example"}}))
    assert "HTTPS_PROXY" in plan_claude(home, gateway).env


def test_a_gateway_that_is_not_there_is_told_with_the_mend(home, tmp_path):
    found = find(tmp_path, {"ONESHOT_GATEWAY_PORT": "9"})
    assert "oneshot up" in found.problem
    plan = plan_claude(home, found)
    assert "ANTHROPIC_BASE_URL" not in plan.env
    assert found.problem in plan.notes[0]


def test_another_service_on_the_port_is_not_taken_for_the_gateway(tmp_path):
    from tests.servers.responses import scripted_responses

    with scripted_responses([]) as other:
        port = other.url.split(":")[2].split("/")[0]
        assert "not OneShot's gateway" in find(tmp_path, {"ONESHOT_GATEWAY_PORT": port}).problem


def test_the_gateway_of_another_installation_is_not_used(tmp_path):
    with passing({}) as gateway:
        port = {"ONESHOT_GATEWAY_PORT": str(gateway.port)}
        gateway.installation = installation_of(tmp_path / "one" / "proxy" / "proxy.sqlite3")
        assert find(tmp_path / "one", port).problem == ""
        assert "another installation's" in find(tmp_path / "two", port).problem


def test_the_port_is_read_from_the_file_beside_the_data(tmp_path):
    with passing({}) as gateway:
        (tmp_path / ".env").write_text(f"ONESHOT_GATEWAY_PORT={gateway.port}\n")
        assert find(tmp_path / "var", {}).problem == ""
        assert find(tmp_path / "var", {}).port == gateway.port


def test_the_server_is_started_without_any_secret(monkeypatch, tmp_path):
    monkeypatch.setenv("DATABASE_URL", "postgres://user:secret@host/db")
    monkeypatch.setenv("ONESHOT_SECRET_KEY", "very-secret")
    made = stanza(tmp_path)
    assert "secret" not in json.dumps([made.command, made.args, made.env])
    assert "DATABASE_URL" in made.notes[0]
    monkeypatch.setenv("DATABASE_URL", "postgres://host/db")
    assert stanza(tmp_path).env["DATABASE_URL"] == "postgres://host/db"


@pytest.mark.parametrize("agent", ["codex", "claude"])
def test_an_agent_that_is_missing_is_told_with_the_mend(person, agent, tmp_path):
    person.env["PATH"] = str(tmp_path / "empty")
    done = person.run(agent, check=False)
    assert done.returncode == launch.NOT_FOUND
    assert "npm install -g" in done.stderr


def fake_agent(person, tmp_path, text):
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "codex").write_text(f"#!/bin/sh\n{text}\n")
    (folder / "codex").chmod(0o755)
    person.env["PATH"] = f"{folder}:{os.environ['PATH']}"


def test_arguments_and_exit_status_are_the_agents_own(person, tmp_path):
    words = ["exec", "--json", "-o", "out file", "--", "--help", "$HOME `id` 'x'", "ünï", ""]
    fake_agent(person, tmp_path, 'for word; do printf "%s\\n" "<$word>"; done; exit 42')
    done = person.run("codex", *words, check=False)
    assert done.returncode == 42
    assert done.stdout.splitlines()[-len(words) :] == [f"<{word}>" for word in words]


def test_help_is_the_agents_own_after_one_line(person, tmp_path):
    fake_agent(person, tmp_path, 'echo "help of codex: $*"')
    done = person.run("codex", "--help")
    assert done.stdout == "help of codex: --help\n"
    assert done.stderr.startswith("oneshot:")
    assert done.stderr.count("\n") == 1


def test_the_shim_runs_codex_with_everything_it_was_given(person, tmp_path):
    fake_agent(person, tmp_path, 'printf "%s\\n" "$@"')
    folder = tmp_path / "shims"
    person.run("capture", "install", "shim", "--dir", str(folder))
    shim = folder / "codex-synth"
    assert stat.S_IMODE(shim.stat().st_mode) == 0o755
    env = {**person.env}
    env.pop("ONESHOT_DATA_DIR")
    done = subprocess.run([shim, "exec", "a b"], env=env, cwd=person.repository, capture_output=True, text=True)
    assert done.stdout.splitlines()[-2:] == ["exec", "a b"]
    assert f'"ONESHOT_DATA_DIR"="{person.data_dir}"' in done.stdout


def shim(action, folder):
    """Return what the command says."""
    out = StringIO()
    call_command("capture", action, "shim", "--dir", str(folder), stdout=out, stderr=StringIO())
    return out.getvalue()


def test_the_shim_is_written_once_and_removed(monkeypatch, settings, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    settings.DATA_DIR = tmp_path / "data"
    assert "now starts" in shim("install", tmp_path)
    assert "is there already" in shim("install", tmp_path)
    shim("uninstall", tmp_path)
    assert not (tmp_path / "codex-synth").exists()


def test_a_foreign_file_is_never_overwritten_by_the_shim(monkeypatch, settings, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    settings.DATA_DIR = tmp_path / "data"
    (tmp_path / "codex-synth").write_text("mine\n")
    for action in ("install", "uninstall"):
        with pytest.raises(CommandError, match="not OneShot's") as error:
            shim(action, tmp_path)
        assert error.value.returncode == 2
    assert (tmp_path / "codex-synth").read_text() == "mine\n"
