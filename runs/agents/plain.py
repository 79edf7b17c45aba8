"""The agents that need no model: `nop` does nothing, `oracle` applies the reference. Both measure the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from runs.agents.base import Assignment, Ending, Log, ModelNeed
from runs.agents.lines import tail
from runs.agents.settings import Setting, read_settings
from runs.errors import InfraError, TaskError
from runs.models import AgentConfig
from runs.sandboxes.base import Mount, Sandbox
from tasks.patches import mailbox_diffs

APPLY_TIMEOUT_S = 300


class NopAgent:
    """Does nothing: what passes after it passed before."""

    kind = "nop"
    settings: Mapping[str, Setting] = {}

    def __init__(self, config: AgentConfig) -> None:
        read_settings(self.settings, config.settings, f"agent {config.name}")
        self.config = config

    def check(self) -> str:
        return ""

    def prepare(self, log: Log) -> None:
        """It has no files of its own."""

    def mounts(self) -> Sequence[Mount]:
        return ()

    def model(self) -> ModelNeed | None:
        return None

    def run(self, sandbox: Sandbox, assignment: Assignment, log: Log) -> Ending:
        log("agent", "doing nothing")
        return Ending(exit_code=0)


class OracleAgent(NopAgent):
    """Applies the reference diff: what fails after it can be solved by nobody."""

    kind = "oracle"

    def run(self, sandbox: Sandbox, assignment: Assignment, log: Log) -> Ending:
        diffs = mailbox_diffs(assignment.reference_diff)
        if not diffs:
            raise TaskError("The task has no reference diff, so there is nothing for the oracle to apply.")
        for number, diff in enumerate(diffs, 1):
            # The reference goes through standard input: it never is a file that could be found in the sandbox.
            result = sandbox.exec(
                ["git", "-c", "safe.directory=*", "apply", "--binary", "--whitespace=nowarn", "-"],
                stdin=diff,
                timeout_s=APPLY_TIMEOUT_S,
            )
            which = f"Patch {number} of {len(diffs)} of the reference" if len(diffs) > 1 else "The reference"
            if result.timed_out or result.exit_code is None:
                raise InfraError(f"{which} was not applied within {APPLY_TIMEOUT_S} s.")
            if result.exit_code == 127:
                raise TaskError("There is no git in the task's image; its Dockerfile must install it.")
            if result.exit_code:
                words = tail(result.stderr or result.stdout)
                raise TaskError(f"{which} does not apply to the base. git says:\n{words}")
        log("agent", f"applied the reference, {sum(map(len, diffs))} bytes")
        return Ending(exit_code=0)
