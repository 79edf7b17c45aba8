"""Reads ATIF trajectories, the exchange format of Harbor: one JSON file with the steps of an agent."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from traces.readers import lines, values, wire
from traces.readers.base import Batch, ExchangeRecord, NotReadable, Problem, SessionRecords, StepRecord
from traces.readers.values import items, mapping, text

FILE_LIMIT = 256 * 1024 * 1024
DEPTH_LIMIT = 8
_AGENTS = {"claude-code": "claude_code", "codex-cli": "codex"}
_KINDS = {"system": "context", "user": "user", "agent": "assistant"}


class AtifReader:
    """ATIF trajectory files."""

    name = "atif"
    label = "ATIF trajectory"

    def recognises(self, path: Path) -> bool:
        if path.suffix != ".json":
            return False
        try:
            with lines.opened(path) as file:
                head = file.read(64 * 1024)
        except NotReadable:
            return False
        return b'"schema_version"' in head and b'"ATIF-v' in head

    def read(self, path: Path, position: dict[str, Any]) -> Iterator[Batch]:
        if lines.unchanged(path, position):
            return
        stat = lines.stat_of(path)
        if stat[0] > FILE_LIMIT:
            raise NotReadable(
                f"it has {stat[0] // 1024 // 1024} MB, more than the {FILE_LIMIT // 1024 // 1024} that are read."
            )
        try:
            document = values.parsed(path.read_bytes())
        except (ValueError, OSError) as error:
            raise NotReadable(f"it is not JSON ({str(error)[:200]}).") from error
        trajectory = mapping(document)
        if not items(trajectory.get("steps")):
            raise NotReadable("it has no steps.")
        reading = _Trajectories(path)
        reading.take(trajectory, "", 0)
        yield Batch(sessions=reading.sessions, position={"stat": stat}, problems=reading.problems)


class _Trajectories:
    """A trajectory and those of its sub-agents, each a session."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sessions: list[SessionRecords] = []
        self.problems: list[Problem] = []

    def take(self, trajectory: dict[str, Any], parent: str, depth: int) -> None:
        if depth > DEPTH_LIMIT:
            self._complain("", "sub-agents are nested too deeply; the rest was left out")
            return
        agent = mapping(trajectory.get("agent"))
        name = text(agent.get("name"))[:40]
        # Within one run sub-agents may share the session's id; their own is the trajectory's.
        own = ("trajectory_id", "session_id") if parent else ("session_id", "trajectory_id")
        thread = next((found for field in own if (found := values.safe_id(trajectory.get(field)))), "")
        thread = thread if thread and thread != parent else f"atif-{values.digest(values.canonical(trajectory))[:32]}"
        records = SessionRecords(
            agent=_AGENTS.get(name, name) or "unknown", thread_id=thread, source=AtifReader.name, label=self.path.name
        )
        for fact, value in (("agent_version", text(agent.get("version"))), ("parent_thread_id", parent)):
            if value:
                records.facts[fact] = value
        self.sessions.append(records)
        for number, step in enumerate(items(trajectory.get("steps")), 1):
            if isinstance(step, dict):
                self._step(records, step, number, text(agent.get("model_name")))
            else:
                self._complain(f"step {number}", "is no object and was left out")
        for sub in items(trajectory.get("subagent_trajectories")):
            self.take(mapping(sub), thread, depth + 1)

    def _complain(self, place: str, message: str) -> None:
        self.problems.append(Problem(file=str(self.path), place=place, message=message))

    def _step(self, records: SessionRecords, step: dict[str, Any], number: int, model: str) -> None:
        key, at = f"step:{number}", values.moment(step.get("timestamp"))
        kind = _KINDS.get(text(step.get("source")))
        if kind is None:
            self._complain(
                f"step {number}", f"has the source {values.compact(step.get('source'))[:60]}; taken for a note"
            )
        exchange = self._exchange(records, step, f"atif:{number}", at, model) if kind == "assistant" else None
        if reasoning := text(step.get("reasoning_content")):
            records.steps.append(
                StepRecord(key=f"{key}:reasoning", kind="reasoning", text=reasoning, at=at, exchange=exchange)
            )
        if said := values.said(step.get("message")):
            records.steps.append(StepRecord(key=key, kind=kind or "notice", text=said, at=at, exchange=exchange))
        calls = [
            self._call(records, mapping(call), key, i, at, exchange)
            for i, call in enumerate(items(step.get("tool_calls")))
        ]
        for index, result in enumerate(items(mapping(step.get("observation")).get("results"))):
            self._result(records, mapping(result), calls, f"{key}:result:{index}", at)

    def _exchange(
        self, records: SessionRecords, step: dict[str, Any], key: str, at: float | None, model: str
    ) -> str | None:
        metrics = mapping(step.get("metrics"))
        if not metrics:
            return None
        records.exchanges.append(
            ExchangeRecord(
                key=key,
                ended_at=at,
                model=(text(step.get("model_name")) or model)[:120],
                tokens_input=values.count(metrics.get("prompt_tokens")),
                tokens_cached=values.count(metrics.get("cached_tokens")),
                tokens_output=values.count(metrics.get("completion_tokens")),
                cost_usd=_money(metrics.get("cost_usd")),
            )
        )
        return key

    def _call(
        self,
        records: SessionRecords,
        call: dict[str, Any],
        key: str,
        index: int,
        at: float | None,
        exchange: str | None,
    ) -> StepRecord:
        block = wire.Block(
            kind="call",
            name=text(call.get("function_name"))[:200],
            text=values.compact(call.get("arguments") or {}),
        )
        step = wire.step_of(block, f"{key}:call:{index}", at, exchange)
        step.call_id = text(call.get("tool_call_id"))[:150] or None
        records.steps.append(step)
        return step

    def _result(
        self, records: SessionRecords, result: dict[str, Any], calls: list[StepRecord], key: str, at: float | None
    ) -> None:
        said, source = values.said(result.get("content")), text(result.get("source_call_id"))[:150]
        call = next((call for call in calls if source and call.call_id == source), None)
        if call is None and not source and len(calls) == 1:
            call = calls[0]
        if call is not None and call.result is None:
            call.result = said
        elif said:
            records.steps.append(StepRecord(key=key, kind="notice", name="observation", text=said, at=at))


def _money(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount.quantize(Decimal("0.000001")) if amount.is_finite() and 0 <= amount < 10**7 else None
