"""The agent `command`: any command line, with what it needs around it. docs/running.md says what it is told."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from runs.agents import settings as reading
from runs.agents.base import Assignment, Ending, Log, ModelNeed
from runs.agents.lines import LoggedOutput, last_line, tail
from runs.agents.service import count, need_of, outcome_of, raise_if_nothing_was_tried
from runs.agents.settings import Setting, read_settings
from runs.errors import AgentError, InfraError
from runs.models import AgentConfig, Outcome
from runs.sandboxes.base import ExecResult, Mount, Sandbox
from traces.proxy.wire.usage import count_of

OWN_DIR = ".oneshot"
SETUP_TIMEOUT_S = 600.0
# One variable may have 128 KiB on Linux; longer instructions are in the file and on standard input only.
MAX_VARIABLE_BYTES = 100_000
MAX_OUTPUT_BYTES = 4_000_000
MAX_USAGE_BYTES = 64_000
MAX_COST_USD = Decimal(1_000_000)


class CommandAgent:
    """Runs a command line in the repository; what it leaves there is its answer."""

    kind = "command"
    settings: Mapping[str, Setting] = {
        "command": Setting(reading.command, None, "line for the shell, or program and arguments", required=True),
        "setup": Setting(reading.text, "", "shell script that runs before, in the home directory"),
        "setup_timeout_s": Setting(reading.seconds, SETUP_TIMEOUT_S, "seconds that the set-up may take"),
        "timeout_s": Setting(reading.seconds, None, "seconds that the command may take, if less than the run's"),
        "env": Setting(reading.environment, {}, "variables for set-up and command"),
        "files": Setting(reading.files, {}, "files below the home directory"),
        "service": Setting(reading.service, None, "model service that the command talks to"),
    }

    def __init__(self, config: AgentConfig) -> None:
        self.config = config
        self.given: dict[str, Any] = read_settings(self.settings, config.settings, f"agent {config.name}")

    def check(self) -> str:
        if "command" not in self.given:
            return "The agent `command` has no command: give --command 'CMD', or `command` in its file."
        return ""

    def prepare(self, log: Log) -> None:
        """It has no files on this host."""

    def mounts(self) -> Sequence[Mount]:
        return ()

    def model(self) -> ModelNeed | None:
        return need_of(self.given["service"]) if "service" in self.given else None

    def run(self, sandbox: Sandbox, assignment: Assignment, log: Log) -> Ending:
        env = self._environment(sandbox, assignment, log)
        self._put_files(sandbox, assignment)
        self._set_up(sandbox, env, log)
        timeout_s = min(assignment.timeout_s, self.given.get("timeout_s", assignment.timeout_s))
        command = self.given["command"]
        output = LoggedOutput(log)
        result = sandbox.exec(
            command if isinstance(command, list) else ["sh", "-c", command],
            env=env,
            stdin=assignment.instructions.encode(),
            timeout_s=timeout_s,
            max_output_bytes=MAX_OUTPUT_BYTES,
            sink=output,
        )
        output.end()
        ending = Ending(exit_code=result.exit_code, detail={"command_seconds": round(result.seconds, 2)})
        self._read_usage(sandbox, env["ONESHOT_USAGE_FILE"], ending, log)
        if assignment.model_use:
            count(ending, assignment.model_use)
        ending.artifacts = _artifacts(result)
        self._conclude(sandbox, result, assignment, timeout_s, ending)
        return ending

    def _environment(self, sandbox: Sandbox, assignment: Assignment, log: Log) -> dict[str, str]:
        own = f"{sandbox.home}/{OWN_DIR}"
        env = {
            "ONESHOT_INSTRUCTIONS_FILE": f"{own}/instructions.md",
            "ONESHOT_USAGE_FILE": f"{own}/usage.json",
            "ONESHOT_WORKDIR": sandbox.workdir,
            "ONESHOT_TIMEOUT_S": f"{assignment.timeout_s:g}",
            "ONESHOT_MODEL": self.config.model,
        }
        text = assignment.instructions
        if len(text.encode()) <= MAX_VARIABLE_BYTES and "\0" not in text:
            env["ONESHOT_INSTRUCTIONS"] = text
        else:
            log("agent", "the instructions do not fit into a variable: ONESHOT_INSTRUCTIONS is not set")
        if assignment.model_url:
            env["ONESHOT_MODEL_URL"] = env["OPENAI_BASE_URL"] = assignment.model_url
            env["ONESHOT_MODEL_TOKEN"] = env["OPENAI_API_KEY"] = assignment.model_token
        return env | reading.host_values(self.given.get("env", {}))

    def _put_files(self, sandbox: Sandbox, assignment: Assignment) -> None:
        sandbox.put(f"{sandbox.home}/{OWN_DIR}/instructions.md", assignment.instructions.encode())
        for path, text in self.given.get("files", {}).items():
            sandbox.put(f"{sandbox.home}/{path}", text.encode(), mode=0o755 if text.startswith("#!") else 0o644)

    def _set_up(self, sandbox: Sandbox, env: dict[str, str], log: Log) -> None:
        script = self.given.get("setup", "")
        if not script.strip():
            return
        limit_s = self.given.get("setup_timeout_s", SETUP_TIMEOUT_S)
        output = LoggedOutput(log)
        log("agent", "set-up")
        result = sandbox.exec(
            ["sh", "-e", "-c", script],
            cwd=sandbox.home,
            env=env,
            timeout_s=limit_s,
            max_output_bytes=MAX_OUTPUT_BYTES,
            sink=output,
        )
        output.end()
        if result.timed_out:
            raise AgentError(f"The agent's set-up did not finish within {limit_s:g} s (setup_timeout_s).")
        if result.exit_code is None:
            raise InfraError(f"The agent's set-up was ended from outside{_by_limit(result)}.")
        if result.exit_code:
            raise AgentError(
                f"The agent's set-up failed with exit status {result.exit_code}. Its last lines:\n"
                + tail(result.stderr or result.stdout)
            )

    def _read_usage(self, sandbox: Sandbox, path: str, ending: Ending, log: Log) -> None:
        """Read what the command says of its own usage. What is wrong in it is told, and stays unknown."""
        try:
            data = sandbox.get(path, max_bytes=MAX_USAGE_BYTES)
        except FileNotFoundError:
            return
        except InfraError as error:
            log("agent", f"the usage file was not read: {error}")
            return
        try:
            usage = json.loads(data)
            if not isinstance(usage, dict):
                raise ValueError("it is no JSON object")
            ending.tokens_input, ending.tokens_cached, ending.tokens_output = (
                _tokens(usage, name) for name in ("input", "cached", "output")
            )
            ending.cost_usd = _cost(usage.get("cost_usd"))
            ending.detail["tokens_from"] = "agent"
        except (ValueError, RecursionError) as error:
            log("agent", f"the usage file says nothing that can be used: {error}")

    def _conclude(
        self, sandbox: Sandbox, result: ExecResult, assignment: Assignment, timeout_s: float, ending: Ending
    ) -> None:
        failure = assignment.model_use.last_failure if assignment.model_use else None
        if result.timed_out or result.limit == "lifetime":
            ending.outcome = Outcome.TIMEOUT
            ending.error = f"The command did not finish within {timeout_s:g} s."
        elif result.exit_code is None:
            ending.error = f"The command was ended from outside{_by_limit(result)}."
        elif result.exit_code:
            ending.outcome = outcome_of(failure)
            if not ending.outcome and _is_untouched(sandbox):
                self._raise_if_not_found(sandbox, result.exit_code)
                if assignment.model_use and not assignment.model_use.answers:
                    raise_if_nothing_was_tried(failure, self.model())
            said = last_line(result.stderr) or last_line(result.stdout)
            ending.error = f"The command failed with exit status {result.exit_code}" + (f": {said}" if said else ".")

    def _raise_if_not_found(self, sandbox: Sandbox, exit_code: int) -> None:
        """Tell a program that is not there from a program that failed. Raises AgentError."""
        if exit_code not in (126, 127):
            return
        program = _program(self.given["command"])
        there = sandbox.exec(["sh", "-c", 'command -v -- "$1" >/dev/null 2>&1', "sh", program], timeout_s=30)
        if program and there.exit_code:
            raise AgentError(
                f"There is no program {program!r} in this task's image. Install it in the agent's set-up, bring it "
                "as a file, or add it to the task's environment."
            )


def _program(command: str | list[str]) -> str:
    """Return the program that a command starts with, or "" when the line is more than a program and arguments."""
    if isinstance(command, list):
        return command[0]
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    return words[0] if words and not set(command) & set(";&|<>()$`\n{}=*?") else ""


def _is_untouched(sandbox: Sandbox) -> bool:
    """Return whether the repository looks as it did, so that nothing would be lost by not grading it."""
    status = ["git", "-c", "safe.directory=*", "status", "--porcelain", "--untracked-files=all"]
    result = sandbox.exec(status, timeout_s=60, max_output_bytes=10_000)
    return result.exit_code == 0 and not result.stdout.strip()


def _by_limit(result: ExecResult) -> str:
    return f" by the {result.limit} limit" if result.limit else ""


def _artifacts(result: ExecResult) -> dict[str, tuple[str, bytes]]:
    streams = {"agent-stdout.txt": result.stdout, "agent-stderr.txt": result.stderr}
    return {name: ("text/plain", data) for name, data in streams.items() if data}


def _tokens(usage: dict[str, Any], name: str) -> int | None:
    value = usage.get(name)
    if value is not None and count_of(value) is None:
        raise ValueError(f"{name!r} is no number of tokens")
    return value


def _cost(value: Any) -> Decimal | None:
    if value is None:
        return None
    try:
        cost = Decimal(str(value))
    except InvalidOperation:
        raise ValueError("'cost_usd' is no amount") from None
    if isinstance(value, bool) or not cost.is_finite() or not 0 <= cost < MAX_COST_USD:
        raise ValueError("'cost_usd' is no amount of US dollars")
    return cost.quantize(Decimal("0.000001"))
