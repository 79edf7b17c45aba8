"""The agent `command`: what it is told, what it may tell, and how it ends."""

import json
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from runs import agents
from runs.agents.base import Assignment
from runs.errors import AgentError, InfraError
from runs.models import AgentConfig
from runs.relay import open_door
from tests.servers.responses import Step, http_error, say, scripted_responses

ASK = f"""{sys.executable} - <<'END'
import json, os, sys, urllib.request
request = urllib.request.Request(
    os.environ["OPENAI_BASE_URL"] + "/responses",
    json.dumps({{"model": os.environ["ONESHOT_MODEL"], "input": [], "tools": []}}).encode(),
    {{"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}},
)
urllib.request.urlopen(request).read()
END
"""


def make(command, **settings):
    config = AgentConfig(kind="command", name="mine", model="m-1", settings={"command": command, **settings})
    return agents.load(config)


def run(sandbox, log, command, *, timeout_s=20.0, instructions="Mend add.\n", **settings):
    assignment = Assignment(instructions=instructions, reference_diff=b"the answer", timeout_s=timeout_s)
    return make(command, **settings).run(sandbox, assignment, log)


def test_what_it_leaves_in_the_repository_is_its_answer(sandbox, log):
    ending = run(sandbox, log, "sed -i s/a-b/a+b/ calc.py; echo mended; echo careful >&2")
    assert "+def add(a, b): return a+b" in sandbox.diff()
    assert (ending.exit_code, ending.outcome, ending.error) == (0, "", "")
    assert {"mended", "careful"} <= set(log)
    assert ending.artifacts["agent-stdout.txt"] == ("text/plain", b"mended\n")
    assert (ending.tokens_input, ending.tokens_output, ending.cost_usd) == (None, None, None)


def test_it_may_be_a_list_of_arguments(sandbox, log):
    assert run(sandbox, log, ["cp", "README.md", "a b $HOME.txt"]).exit_code == 0
    assert Path(sandbox.workdir, "a b $HOME.txt").exists()


def test_the_instructions_come_in_three_ways_and_the_reference_in_none(sandbox, log):
    run(sandbox, log, 'cat > a; printf %s "$ONESHOT_INSTRUCTIONS" > b; cat "$ONESHOT_INSTRUCTIONS_FILE" > c; env > d')
    assert [Path(sandbox.workdir, name).read_text().strip() for name in "abc"] == ["Mend add."] * 3
    told = Path(sandbox.workdir, "d").read_text()
    assert "the answer" not in told
    assert "ONESHOT_TIMEOUT_S=20\n" in told
    assert f"ONESHOT_WORKDIR={sandbox.workdir}\n" in told


def test_instructions_too_long_for_a_variable_still_come_in_two_ways(sandbox, log):
    command = 'wc -c > a; wc -c < "$ONESHOT_INSTRUCTIONS_FILE" > b; echo "${ONESHOT_INSTRUCTIONS-unset}" > c'
    ending = run(sandbox, log, command, instructions="x" * 300_000)
    assert ending.exit_code == 0
    assert [Path(sandbox.workdir, name).read_text().strip() for name in "abc"] == ["300000", "300000", "unset"]


def test_set_up_and_files_come_first_and_leave_the_repository_alone(sandbox, log):
    run(
        sandbox,
        log,
        '"$HOME/bin/mend"',
        setup='mkdir lib; echo "s/a-b/a+b/" > lib/rule; echo $COLOUR > lib/colour',
        env={"COLOUR": "blue"},
        files={"bin/mend": '#!/bin/sh\nsed -i -f "$HOME/lib/rule" calc.py\n'},
    )
    assert sandbox.diff().count("diff --git") == 1
    assert Path(sandbox.home, "lib/colour").read_text() == "blue\n"


def test_a_set_up_that_fails_or_hangs_is_the_agents_fault(sandbox, log):
    with pytest.raises(AgentError, match=r"exit status 3.*\n.*no network"):
        run(sandbox, log, "true", setup="echo no network >&2; exit 3")
    with pytest.raises(AgentError, match="setup_timeout_s"):
        run(sandbox, log, "true", setup="sleep 60", setup_timeout_s=0.2)


def test_a_command_that_fails_is_graded_with_its_diff(sandbox, log):
    ending = run(sandbox, log, "echo new > new.txt; echo 'it broke' >&2; exit 3")
    assert (ending.exit_code, ending.outcome) == (3, "")
    assert ending.error == "The command failed with exit status 3: it broke"
    assert "new.txt" in sandbox.diff()


@pytest.mark.parametrize(("run_s", "own_s"), [(0.3, 20), (20, 0.3)])
def test_a_command_that_hangs_ends_in_a_timeout_with_its_diff(sandbox, log, run_s, own_s):
    agent = make("echo new > new.txt; sleep 60", timeout_s=own_s)
    ending = agent.run(sandbox, Assignment(instructions="x", reference_diff=b"", timeout_s=run_s), log)
    assert (ending.exit_code, ending.outcome) == (None, "timeout")
    assert "0.3 s" in ending.error
    assert "new.txt" in sandbox.diff()


def test_a_program_that_is_not_there_is_named(sandbox, log):
    with pytest.raises(AgentError, match="no program 'no-such-agent'"):
        run(sandbox, log, "no-such-agent --fix")
    # Something did happen here, so it counts, whatever was missing later.
    assert run(sandbox, log, "echo new > new.txt; no-such-agent").exit_code == 127


def test_it_may_say_what_it_used(sandbox, log):
    usage = {"input": 1200, "cached": 300, "output": 45, "cost_usd": 0.0123456789}
    ending = run(sandbox, log, f"echo '{json.dumps(usage)}' > \"$ONESHOT_USAGE_FILE\"")
    assert (ending.tokens_input, ending.tokens_cached, ending.tokens_output) == (1200, 300, 45)
    assert ending.cost_usd == Decimal("0.012346")


@pytest.mark.parametrize(
    "written",
    [
        "[]",
        "{",
        '{"input": -1}',
        '{"input": "many"}',
        '{"cost_usd": "NaN"}',
        '{"cost_usd": -1}',
        '{"cost_usd": true}',
        '{"output": 1e400}',
        "[" * 5000,
    ],
)
def test_nonsense_about_usage_is_told_and_stays_unknown(sandbox, log, written):
    ending = run(sandbox, log, f"printf %s '{written}' > \"$ONESHOT_USAGE_FILE\"")
    assert ending.error == ""
    assert ending.cost_usd is None
    assert ending.tokens_input is None
    assert any("usage file" in line for line in log)


def ask(sandbox, log, monkeypatch, steps, command=ASK, **service):
    monkeypatch.setenv("TEST_API_KEY", "sk-test-0123456789abcdefghijklmn")
    with scripted_responses(steps) as server:
        agent = make(command, service={"base_url": server.url, "key_env": "TEST_API_KEY", **service})
        with open_door(agent.model(), "127.0.0.1") as door:
            assignment = Assignment(
                instructions="x",
                reference_diff=b"",
                timeout_s=20,
                model_url=door.url("127.0.0.1"),
                model_token=door.door.token,
                model_use=door.usage,
            )
            return agent.run(sandbox, assignment, log), server.requests


def test_it_talks_to_its_model_through_the_relay_which_counts(sandbox, log, monkeypatch):
    lies = ASK + '\necho \'{"input": 1}\' > "$ONESHOT_USAGE_FILE"; env > env.txt'
    ending, requests = ask(sandbox, log, monkeypatch, [Step(items=[say("hello")])], lies)
    assert requests[0]["headers"]["authorization"] == "Bearer sk-test-0123456789abcdefghijklmn"
    assert requests[0]["body"]["model"] == "m-1"
    assert (ending.tokens_input, ending.tokens_cached, ending.tokens_output) == (1000, 200, 50)
    assert "sk-test" not in Path(sandbox.workdir, "env.txt").read_text()


def test_a_model_that_never_answered_is_whoevers_fault_it_is(sandbox, log, monkeypatch):
    with pytest.raises(AgentError, match="TEST_API_KEY"):
        ask(sandbox, log, monkeypatch, [http_error(401, "bad key", "invalid_api_key")])
    with pytest.raises(InfraError, match="did not answer"):
        ask(sandbox, log, monkeypatch, [http_error(503, "overloaded")])


def test_what_was_done_before_the_model_failed_is_graded(sandbox, log, monkeypatch):
    command = "echo new > new.txt\n" + ASK
    ending, _ = ask(sandbox, log, monkeypatch, [http_error(503, "overloaded")], command)
    assert ending.outcome == ""
    assert ending.exit_code == 1
    assert "new.txt" in sandbox.diff()


def test_a_spent_budget_is_an_outcome(sandbox, log, monkeypatch):
    ending, requests = ask(sandbox, log, monkeypatch, [Step(items=[say("hello")])], ASK + ASK, token_budget=100)
    # The second request came after 850 uncached input and output tokens, and was not forwarded.
    assert ending.outcome == "budget_exhausted"
    assert len(requests) == 1


def test_variables_of_the_worker_may_enter_but_secrets_never(sandbox, log, monkeypatch):
    monkeypatch.setenv("MY_LOCALE", "de_AT")
    run(sandbox, log, 'echo "$L" > l.txt', env={"L": "$MY_LOCALE"})
    assert Path(sandbox.workdir, "l.txt").read_text() == "de_AT\n"
    monkeypatch.setenv("MY_LOCALE", "ghp_" + "a" * 36)
    with pytest.raises(AgentError, match=r"env\.L .* secret"):
        run(sandbox, log, "true", env={"L": "$MY_LOCALE"})
    monkeypatch.delenv("MY_LOCALE")
    with pytest.raises(AgentError, match="MY_LOCALE"):
        run(sandbox, log, "true", env={"L": "$MY_LOCALE"})
    for value in ("$MY_API_KEY", "$DB_PASSWORD", "sk-" + "a" * 30):
        with pytest.raises(AgentError, match="secret"):
            make("true", env={"L": value})


def test_without_a_command_it_says_how_to_give_one():
    assert "--command" in agents.load_by_kind("command").check()
