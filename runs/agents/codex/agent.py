"""The agent itself: Codex's package mounted read-only, its home in the sandbox's home, its model behind the relay."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from runs.agents import settings as reading
from runs.agents.base import Assignment, Ending, Log, ModelNeed
from runs.agents.codex import invocation
from runs.agents.codex.events import Events, model_of_rollouts, tokens_of_rollouts
from runs.agents.codex.installation import CODEX
from runs.agents.codex.verdict import conclude
from runs.agents.lines import LoggedOutput
from runs.agents.npm import Installation
from runs.agents.service import count, need_of
from runs.agents.settings import Setting, read_settings
from runs.agents.transcripts import collect
from runs.models import AgentConfig
from runs.sandboxes.base import ExecResult, Mount, Sandbox

TARGET = "/opt/codex"
MAX_EVENTS_BYTES = 20_000_000
ROLLOUT = re.compile(r"[A-Za-z0-9/._-]+/rollout-[A-Za-z0-9._-]+\.jsonl\Z")
ROLLOUTS = ("sessions/*/*/*/rollout-*.jsonl",)


def _effort(value: Any) -> str:
    """A reasoning effort, in Codex's words."""
    if not re.fullmatch(r"[a-z]{1,20}", reading.text(value)):
        raise ValueError("It must be an effort that the model knows, such as low, medium or high.")
    return value


def _catalog(value: Any) -> str:
    """A model catalogue: JSON text, or the table itself."""
    document = value
    if isinstance(value, str):
        try:
            document = json.loads(value)
        except ValueError as error:
            raise ValueError(f"It is no JSON: {error}.") from None
    if not isinstance(document, dict) or not isinstance(document.get("models"), list):
        raise ValueError("It must be a catalogue as of `codex debug models`: {models = [...]}.")
    return json.dumps(document, sort_keys=True)


class CodexAgent:
    """Runs `codex exec` on the instructions, in the repository."""

    kind = "codex"
    settings: Mapping[str, Setting] = {
        "reasoning_effort": Setting(_effort, "", "reasoning effort, in the model's words"),
        "service": Setting(reading.service, {}, "model service; OpenAI's when not given"),
        "provider": Setting(reading.word, invocation.PROVIDER, "name of the service, as Codex shows it"),
        "model_catalog": Setting(_catalog, "", "what Codex needs to know of models it does not know"),
        "web_search": Setting(reading.flag, False, "whether the model may use the service's web search"),
        "request_retries": Setting(reading.count, invocation.REQUEST_RETRIES, "retries of a refused request"),
        "stream_retries": Setting(reading.count, invocation.STREAM_RETRIES, "retries of a broken answer"),
        "stream_idle_s": Setting(reading.seconds, invocation.STREAM_IDLE_S, "silence that breaks an answer"),
        "timeout_s": Setting(reading.seconds, None, "seconds that Codex may take, if less than the run's"),
        "env": Setting(reading.environment, {}, "variables for Codex and its commands"),
        "config": Setting(invocation.config_table, {}, "further settings of Codex: dotted name → value"),
    }

    def __init__(self, config: AgentConfig) -> None:
        self.config = config
        self.given: dict[str, Any] = read_settings(self.settings, config.settings, f"agent {config.name}")

    @staticmethod
    def default_version() -> str:
        """Return the version that a configuration without one gets. Raises AgentError with the mend."""
        return CODEX.newest_version()

    def check(self) -> str:
        return CODEX.problem(self.config.version)

    def prepare(self, log: Log) -> None:
        CODEX.obtain(self.config.version, log)

    def mounts(self) -> Sequence[Mount]:
        return [Mount(source=self._installed().root, target=TARGET)]

    def model(self) -> ModelNeed:
        return need_of(self.given.get("service", {}))

    def run(self, sandbox: Sandbox, assignment: Assignment, log: Log) -> Ending:
        installed = self._installed()
        own, codex_home = f"{sandbox.home}/.oneshot", f"{sandbox.home}/.codex"
        files = {"instructions.md": assignment.instructions.encode()}
        if catalog := self.given.get("model_catalog", ""):
            files["models.json"] = catalog.encode()
        sandbox.put_tree(own, files)
        timeout_s = min(assignment.timeout_s, self.given.get("timeout_s", assignment.timeout_s))
        events = Events(log)
        errors = LoggedOutput(log)
        line = invocation.argv(
            roots=(TARGET, str(installed.root)),
            workdir=sandbox.workdir,
            last_message=f"{own}/last-message.txt",
            catalog=f"{own}/models.json" if catalog else "",
            base_url=assignment.model_url,
            model=self.config.model,
            settings=self.given,
        )
        result = sandbox.exec(
            line,
            env=self._environment(codex_home, f"{own}/instructions.md", assignment),
            timeout_s=timeout_s,
            max_output_bytes=MAX_EVENTS_BYTES,
            sink=lambda stream, data: events.feed(data) if stream == "stdout" else errors(stream, data),
        )
        events.end()
        errors.end()
        return self._ending(sandbox, result, events, assignment, codex_home, timeout_s, log)

    def _installed(self) -> Installation:
        return CODEX.obtain(self.config.version, lambda source, text: None)

    def _environment(self, codex_home: str, instructions: str, assignment: Assignment) -> dict[str, str]:
        return {
            **reading.host_values(self.given.get("env", {})),
            "CODEX_HOME": codex_home,
            "ONESHOT_INSTRUCTIONS_FILE": instructions,
            invocation.TOKEN_ENV: assignment.model_token,
        }

    def _ending(
        self,
        sandbox: Sandbox,
        result: ExecResult,
        events: Events,
        assignment: Assignment,
        codex_home: str,
        timeout_s: float,
        log: Log,
    ) -> Ending:
        outcome, error = conclude(result, events, assignment.model_use, self.model(), timeout_s)
        rollouts = collect(sandbox, codex_home, ROLLOUTS, ROLLOUT, log)
        ending = Ending(
            exit_code=result.exit_code, outcome=outcome, error=error, final_message=events.final_message[:20_000]
        )
        ending.transcripts = rollouts
        ending.artifacts = _artifacts(result, rollouts, events)
        ending.detail = {
            "codex_seconds": round(result.seconds, 2),
            "thread_id": events.thread_id,
            "commands": events.commands,
            "model_used": model_of_rollouts(rollouts.values()),
        }
        self._count(ending, events, rollouts, assignment)
        return ending

    def _count(self, ending: Ending, events: Events, rollouts: Mapping[str, bytes], assignment: Assignment) -> None:
        """Fill the tokens from one source: the relay's count, or else the rollouts', or else the last event's."""
        if tokens := tokens_of_rollouts(rollouts.values()) or events.tokens:
            ending.tokens_input, ending.tokens_cached = tokens.input, tokens.cached
            ending.tokens_output = tokens.output
            ending.detail["tokens_from"] = "agent"
        if assignment.model_use:
            count(ending, assignment.model_use)


def _artifacts(result: ExecResult, rollouts: Mapping[str, bytes], events: Events) -> dict[str, tuple[str, bytes]]:
    files = {
        "codex-events.jsonl": ("application/jsonl", result.stdout),
        "codex-stderr.txt": ("text/plain", result.stderr),
        "last-message.md": ("text/markdown", events.final_message.encode()),
    }
    files |= {name: ("application/jsonl", data) for name, data in rollouts.items()}
    return {name: file for name, file in files.items() if file[1]}
