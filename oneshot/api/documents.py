"""What routes take and give. What they take refuses fields that it does not know."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

Seconds = dict[str, float]


class Given(BaseModel):
    """A body that a client sends."""

    model_config = ConfigDict(extra="forbid", str_max_length=2_500_000)


class Query(BaseModel):
    """What stands in the address behind the question mark."""

    model_config = ConfigDict(extra="forbid", str_max_length=200)


class Refusal(BaseModel):
    code: str
    message: str
    field: str | None = Field(None, description="Which field is at fault, where one is")
    mine: Any = Field(None, description="Of a conflict: what was sent")
    theirs: Any = Field(None, description="Of a conflict: what is there now")


class Refused(BaseModel):
    """The one shape of everything that is refused."""

    error: Refusal


# ── people ────────────────────────────────────────────────────────────────────────────────────────────────────


class TeamRole(BaseModel):
    slug: str
    name: str
    role: str | None = Field(description="null for an administrator who is no member")


class TokenFacts(BaseModel):
    name: str
    prefix: str
    scope: str
    expires_at: datetime | None


class Me(BaseModel):
    username: str
    name: str
    administrator: bool
    teams: list[TeamRole]
    token: TokenFacts


# ── tasks ─────────────────────────────────────────────────────────────────────────────────────────────────────


class TaskQuery(Query):
    q: str = ""
    state: Literal["", "captured", "draft", "review", "published", "retired"] = ""
    validation: Literal["", "none", "running", "valid", "invalid"] = ""
    tag: str = ""
    team: str = ""
    after: str = Field("", description="`next` of the answer before")
    limit: int = Field(50, ge=1, le=100)


class TaskRow(BaseModel):
    slug: str
    title: str
    team: str
    visibility: str
    state: str
    tags: list[str]
    version: int | None
    validation: str | None
    fail_to_pass: int | None = Field(description="How many tests a solution must mend; null before a validation")
    pass_to_pass: int | None
    created_at: datetime
    url: str


class Tasks(BaseModel):
    tasks: list[TaskRow]
    next: str | None = Field(description="`after` of the next page; null on the last")


class Version(BaseModel):
    number: int
    digest: str
    title: str
    instructions: str
    repository: dict[str, str]
    environment: dict[str, Any]
    validation: str
    validated_at: datetime | None
    published_at: datetime | None


class Move(BaseModel):
    to: str
    words: str
    needs_reason: bool


class TaskDetail(TaskRow):
    content: Version | None = Field(description="The current version; null when there is none yet")
    moves: list[Move] = Field(description="What this token's owner may make of it")


class MoveGiven(Given):
    to: str = Field(max_length=20)
    reason: str = Field("", max_length=2000)


class MoveMade(BaseModel):
    slug: str
    state: str
    from_state: str
    reason: str
    version: int | None = Field(description="The version that was published")


class TestFile(BaseModel):
    path: str
    content: str | None = Field(description="null for what is no text, and for more than 300,000 bytes")
    bytes: int
    mode: str
    rubric_id: str | None


class DraftFields(BaseModel):
    title: str
    instructions: str
    tags: list[str]
    environment: dict[str, Any]
    sensitivity: str
    reference_diff: str | None = Field(description="A diff as git writes it; null for more than 2,000,000 bytes")
    tests: list[TestFile]
    criteria: list[dict[str, Any]]


class Draft(BaseModel):
    slug: str
    revision: int = Field(description="Send it back as `seen`")
    version: int | None = Field(description="The version that the draft was made from")
    changed: bool = Field(description="Whether it differs from that version")
    held_by: str | None = Field(description="Who has the task on the desk now")
    against_publishing: list[str]
    fields: DraftFields


class TestGiven(Given):
    path: str = Field(max_length=1000)
    content: str | None = Field(None, description="Left out: what the draft's test of this path has")
    mode: Literal["100644", "100755"] = "100644"
    rubric_id: str | None = Field(None, max_length=100)


class CriterionGiven(Given):
    text: str = Field(max_length=5000)
    key: str = Field("", max_length=100, description="Left out: one of its number")
    weight: Decimal = Decimal(1)
    kind: str = Field("important", max_length=10)
    checks: list[str] = Field([], max_length=50)
    sees: list[Literal["diff", "tests", "trajectory", "final_message"]] = Field(["diff", "tests"])


class DraftGiven(Given):
    seen: int = Field(
        ge=0, le=2_000_000_000, examples=[0], description="`revision` of the draft that the change was made from"
    )
    title: str | None = None
    instructions: str | None = None
    tags: list[str] | None = None
    environment: dict[str, Any] | None = None
    sensitivity: str | None = None
    reference_diff: str | None = Field(None, description="The diff itself; an empty text takes it out")
    tests: list[TestGiven] | None = Field(None, description="All hidden tests")
    criteria: list[CriterionGiven] | None = Field(None, description="The whole rubric")


class Finding(BaseModel):
    fingerprint: str
    kind: str
    severity: str
    status: str
    title: str
    message: str
    waivable: bool
    place: dict[str, Any]
    waived_by: str | None
    waiver_reason: str


class Findings(BaseModel):
    findings: list[Finding]


class WaiverGiven(Given):
    reason: str = Field(max_length=2000)


class ValidationGiven(Given):
    version: int | None = Field(None, ge=1, le=2_000_000_000, description="Left out: the current one")
    draft: bool = Field(False, description="Freeze the draft first, and validate that version")


class Validation(BaseModel):
    id: UUID
    slug: str
    version: int
    status: str
    runs: list[UUID]


# ── runs ──────────────────────────────────────────────────────────────────────────────────────────────────────


class RunQuery(Query):
    q: str = ""
    task: str = Field("", max_length=120)
    agent: str = Field("", max_length=100, description="Id, name or kind of an agent")
    status: Literal[
        "",
        "active",
        "queued",
        "preparing",
        "running",
        "collecting",
        "grading",
        "finished",
        "cancelled",
        "infra_failed",
    ] = ""
    outcome: Literal[
        "",
        "unsolved",
        "resolved",
        "unresolved",
        "empty_patch",
        "patch_failed",
        "timeout",
        "budget_exhausted",
        "refused",
    ] = ""
    sandbox: str = Field("", max_length=20)
    purpose: Literal["", "trial", "validation"] = ""
    after: str = Field("", description="`next` of the answer before")


class RunRow(BaseModel):
    id: UUID
    slug: str
    agent: str
    agent_kind: str
    agent_version: str
    model: str
    attempt: int
    purpose: str
    sandbox: str
    isolation: str
    status: str
    outcome: str | None
    fault: str | None
    created_at: datetime
    finished_at: datetime | None
    seconds: float | None
    tokens_input: int | None
    tokens_output: int | None
    cost_usd: float | None
    rubric_score: float | None
    url: str


class Runs(BaseModel):
    runs: list[RunRow]
    next: str | None = Field(description="`after` of the next page; null on the last")


class Counted(BaseModel):
    passed: int | None
    failed: int | None


class Tokens(BaseModel):
    input: int | None
    cached: int | None
    output: int | None


class Run(BaseModel):
    """As `run_task --json` prints it; null is unknown."""

    model_config = ConfigDict(extra="allow")

    id: UUID
    slug: str
    version: int
    agent: str
    model: str
    attempt: int
    sandbox: str
    isolation: str
    status: str
    outcome: str | None
    error: str
    fault: str | None
    fail_to_pass: Counted
    pass_to_pass: Counted
    rubric_score: float | None
    tokens: Tokens
    cost_usd: float | None
    answers_without_cost: int
    limits: dict[str, Any]
    session: UUID | None
    seconds: Seconds
    diff_bytes: int | None
    url: str


class RunList(BaseModel):
    runs: list[Run]


class LimitsGiven(Given):
    max_tokens: int | None = Field(None, description="Uncached input and output of each attempt")
    max_cost_usd: Decimal | None = Field(None, description="Needs a model with a known price")


class RunsGiven(Given):
    task: str = Field(max_length=120, description="Slug; its current version is tried")
    agent: str = Field(max_length=100, description="A kind such as codex, or the id of a configuration tried before")
    command: str = Field("", description="What the agent `command` runs")
    model: str = ""
    effort: str = ""
    attempts: int = 1
    sandbox: str = "auto"
    limits: LimitsGiven = LimitsGiven(max_tokens=None, max_cost_usd=None)
    unvalidated: bool = Field(False, description="Try a version that is not valid all the same")


class RescoreGiven(Given):
    runs: list[UUID] = Field([], max_length=200)
    task: str = Field("", max_length=120, description="Instead of runs: all graded runs of this task, at most 200")
    judge: str = Field("", max_length=100, description="Left out: the default judges")
    rubric: int | None = Field(None, ge=1, le=2_000_000_000, description="Number of the rubric; left out: the newest")
    dry_run: bool = Field(False, description="Only say what it would ask and cost")


class Rescored(BaseModel):
    run: UUID
    slug: str
    judge: str
    rubric: int
    done: bool = Field(description="Judged already: nothing is asked again")
    questions: int
    estimate_usd: float | None = Field(description="null: the model's price is unknown")
    before: float | None
    status: str | None = Field(description="Of the judgement; null in a dry run")


class Rescoring(BaseModel):
    dry_run: bool
    questions: int
    estimate_usd: float | None
    runs: list[Rescored]


# ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────────


class SessionQuery(Query):
    q: str = ""
    agent: str = Field("", max_length=40)
    model: str = Field("", max_length=120)
    repository: str = ""
    origin: Literal["", "person", "run"] = ""
    after: str = Field("", description="`next` of the answer before")


class Session(BaseModel):
    id: UUID
    origin: str
    agent: str
    agent_version: str
    title: str
    repository: str
    branch: str
    models: list[str]
    started_at: datetime | None
    ended_at: datetime | None
    ending: str
    turns: int
    steps: int
    requests: int
    tokens_input: int | None
    tokens_output: int | None
    cost_usd: float | None
    requests_without_cost: int = Field(description="With some, the cost is a lower bound")
    url: str


class SessionDetail(Session):
    team: str
    thread_id: str
    commit: str
    tokens_cached: int | None
    tokens_reasoning: int | None
    model_seconds: float | None
    gaps: list[dict[str, Any]]
    exports: dict[str, str] = Field(description="Addresses of the whole session in other formats")


class Sessions(BaseModel):
    sessions: list[Session]
    next: str | None = Field(description="`after` of the next page; null on the last")
