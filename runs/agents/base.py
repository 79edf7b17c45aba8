"""What an agent is to a run: a command line with what it needs, and a reading of how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from runs.models import AgentConfig
from runs.sandboxes.base import Mount, Sandbox

if TYPE_CHECKING:
    from traces.proxy.wire.usage import ModelUse


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What an agent is given. The oracle alone gets the reference diff, and never through the sandbox's files."""

    instructions: str
    reference_diff: bytes
    timeout_s: float
    # URL of the model's API as seen inside (".../v1"), or "" when the agent asked for no model.
    model_url: str = ""
    # Stands where a key would: the relay on the host swaps it for the real one.
    model_token: str = ""
    # What the relay saw of the model's service so far; None when there is no relay.
    model_use: ModelUse | None = None


@dataclass(frozen=True, kw_only=True)
class ModelNeed:
    """The model service an agent talks to. The relay forwards to `base_url` and adds the key from `key_env`."""

    base_url: str
    key_env: str = ""
    header: str = "Authorization"
    # Named values added as query or headers by compatible services, never secrets.
    extra_headers: Mapping[str, str] = field(default_factory=dict)
    # Uncached input and output tokens, and dollars, after which the relay refuses further requests; None is no limit.
    token_budget: int | None = None
    cost_budget_usd: Decimal | None = None
    # Whose wire protocol it speaks: "openai" or "anthropic".
    provider: str = "openai"


@dataclass(kw_only=True)
class Ending:
    """How an agent ended, as read from its exit, its output and its transcript.

    Tokens are those of all answers of the model; input includes the cached ones, as the services count them.
    `outcome` is "" when the diff and the tests decide, or one of timeout, budget_exhausted, refused. The diff is
    collected and graded whatever stands here. Unknown numbers are None.
    """

    exit_code: int | None = None
    outcome: str = ""
    error: str = ""
    final_message: str = ""
    tokens_input: int | None = None
    tokens_cached: int | None = None
    tokens_output: int | None = None
    cost_usd: Decimal | None = None
    # name → (media type, bytes): native transcript, event stream, last message
    artifacts: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    # file name → bytes of the agent's own session files, which the run's trace is read from
    transcripts: dict[str, bytes] = field(default_factory=dict)
    detail: dict[str, Any] = field(default_factory=dict)


Log = Callable[[str, str], None]
"""Called with (source, text of whole lines)."""


class Agent(Protocol):
    """An agent plug-in, made from one configuration by `runs.agents.load`."""

    config: AgentConfig

    def check(self) -> str:
        """Return "" when it can run here, else a sentence with the mend, such as a missing binary. Quick."""
        ...

    def prepare(self, log: Log) -> None:
        """Get its own files onto this host where that takes time, such as installing it. Called after `check`.

        Raises AgentError when that cannot work, InfraError when another try may.
        """
        ...

    def mounts(self) -> Sequence[Mount]:
        """Return the agent's own files, shown read-only inside; no image is built per agent."""
        ...

    def model(self) -> ModelNeed | None:
        """Return the model service it needs, or None."""
        ...

    def run(self, sandbox: Sandbox, assignment: Assignment, log: Log) -> Ending:
        """Do the work inside the sandbox, within the time. Raises AgentError when its configuration cannot work
        (then nothing was tried), InfraError when the sandbox failed. An agent that fails, hangs or gives up is
        no error: it is an Ending."""
        ...
