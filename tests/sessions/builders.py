"""Builders of sessions for tests: rows as an import makes them, with bodies in the content store."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from oneshot.accounts.models import Team
from tests.builders import make_team
from traces import bodies
from traces.models import Exchange, Session, Step

_numbers = itertools.count(1)

START = datetime(2026, 11, 20, 15, 2, tzinfo=UTC)
DIFF = """--- a/ledgerline/split.py
+++ b/ledgerline/split.py
@@ -27 +27,5 @@ def allocate
-    return [amount * w // total for w in weights]
+    parts = [amount.minor * w // total for w in weights]
+    short = amount.minor - sum(parts)
+    order = sorted(range(len(parts)), key=lambda i: -weights[i])
+    for i in order[:short]:
+        parts[i] += 1
"""


def make_session(
    *,
    team: Team | None = None,
    steps: Iterable[dict[str, Any]] = (),
    exchanges: Iterable[dict[str, Any]] = (),
    **fields: Any,
) -> Session:
    """Return a session with these steps and exchanges; what is left out of them is made up.

    A step's "exchange" is the number of an exchange, from 0; "text" and "result" are whole texts, stored where long.
    """
    number = next(_numbers)
    steps, exchanges = list(steps), list(exchanges)
    defaults: dict[str, Any] = {
        "team": team or make_team(),
        "agent": "codex",
        "agent_version": "0.169.0",
        "thread_id": f"thread-{number:08d}",
        "title": f"Session {number}",
        "repository": "https://example.org/ledgerline.git",
        "branch": "main",
        "model_names": ["gpt-5.2-codex"],
        "started_at": START + timedelta(minutes=number),
        "ended_at": START + timedelta(minutes=number + 46),
        "ending": "completed",
        "turn_count": max((step.get("turn", 1) for step in steps), default=0),
        "step_count": len(steps),
        "request_count": len(exchanges),
        "sources": [{"kind": "proxy", "label": "proxy.sqlite3", "imported_at": START.isoformat()}],
        "steps_from": "codex",
    }
    session = Session.objects.create(**defaults | fields)
    rows = make_exchanges(session, exchanges)
    make_steps(session, steps, rows)
    return session


def make_exchanges(session: Session, exchanges: Sequence[dict[str, Any]]) -> list[Exchange]:
    """Add exchanges. "messages" is a list of documents, "head" a document, "answer" a text; all of them optional."""
    made: list[Exchange] = []
    with bodies.BodyWriter() as writer:
        pending: list[tuple[Exchange, dict[str, int]]] = []
        tickets: dict[str, int] = {}
        for number, given in enumerate(exchanges):
            fields = dict(given)
            messages = [json.dumps(message) for message in fields.pop("messages", [])]
            head, answer = fields.pop("head", {"model": "gpt-5.2-codex", "stream": True}), fields.pop("answer", None)
            for message in messages:
                if message not in tickets:
                    tickets[message] = writer.add(message)
            started = START + timedelta(seconds=10 * number)
            defaults: dict[str, Any] = {
                "session": session,
                "key": f"response-{number}",
                "source": "proxy",
                "started_at": started,
                "first_byte_at": started + timedelta(seconds=0.4),
                "ended_at": started + timedelta(seconds=3),
                "method": "POST",
                "url": "https://api.example.org/v1/responses",
                "provider": "openai",
                "status": 200,
                "model": "gpt-5.2-codex",
                "response_id": f"resp_{number}",
                "tokens_input": 9_000 + 1_000 * number,
                "tokens_cached": 8_000 + 1_000 * number,
                "tokens_output": 420,
                "tokens_reasoning": 120,
                "cost_usd": Decimal("0.019"),
            }
            exchange = Exchange(**defaults | fields)
            keep = {"answer": writer.add(answer)} if answer is not None else {}
            pending.append((exchange, keep))
            made.append(exchange)
            if messages:
                # References are known only when their blob is written.
                exchange._messages, exchange._head = messages, head
        writer.flush()
        for exchange, keep in pending:
            if "answer" in keep:
                exchange.response_ref = writer.ref(keep["answer"])
            if hasattr(exchange, "_messages"):
                refs = [writer.ref(tickets[message]) for message in exchange._messages]
                ticket = writer.add(json.dumps({"head": exchange._head, "messages": refs}))
                writer.flush()
                exchange.request_ref = writer.ref(ticket)
    Exchange.objects.bulk_create(made)
    return made


def make_steps(session: Session, steps: Sequence[dict[str, Any]], exchanges: Sequence[Exchange] = ()) -> list[Step]:
    """Add steps after those there are."""
    first = session.shown_steps().count() + 1
    made = []
    with bodies.BodyWriter() as writer:
        stored: list[tuple[Step, str, int]] = []
        for position, given in enumerate(steps, first):
            fields = dict(given)
            text, result = fields.pop("text", ""), fields.pop("result", None)
            exchange = fields.pop("exchange", None)
            defaults: dict[str, Any] = {
                "session": session,
                "source": session.steps_from,
                "position": position,
                "key": f"k{position}",
                "turn": 1,
                "kind": Step.Kind.ASSISTANT,
                "at": START + timedelta(seconds=5 * position),
                "preview": text[:500].replace("\0", ""),
                "body_bytes": len(text.encode()),
                "exchange": None if exchange is None else exchanges[exchange],
            }
            step = Step(**defaults | fields)
            if text != step.preview:
                stored.append((step, "body_ref", writer.add(text)))
            if result is not None:
                step.result_preview = result[:500].replace("\0", "")
                step.result_bytes = len(result.encode())
                if result != step.result_preview:
                    stored.append((step, "result_ref", writer.add(result)))
            made.append(step)
        writer.flush()
        for step, name, ticket in stored:
            setattr(step, name, writer.ref(ticket))
    return Step.objects.bulk_create(made, batch_size=1000)


def call(command: str = "ls", result: str = "a.py\n", exit_code: int | None = 0, **fields: Any) -> dict[str, Any]:
    """Return a step that is a shell call."""
    made = {"kind": "tool", "name": "exec_command", "text": command, "result": result, "seconds": 0.4}
    return made | {"exit_code": exit_code, "failed": bool(exit_code), "call_id": f"c{next(_numbers)}"} | fields


def patch(text: str = DIFF, **fields: Any) -> dict[str, Any]:
    """Return a step that is a patch."""
    files = [{"path": "ledgerline/split.py", "change": "update", "added": 5, "removed": 1}]
    return {"kind": "patch", "name": "apply_patch", "text": text, "failed": False, "meta": {"files": files}} | fields


def said(kind: str, text: str, **fields: Any) -> dict[str, Any]:
    """Return a step that is words."""
    return {"kind": kind, "text": text} | fields


def refund(team: Team, **fields: Any) -> Session:
    """Return a session like those that people have: turns, failures, a patch, a compaction, a gap, a sub-agent."""
    steps: list[dict[str, Any]] = [
        said("context", "You are a coding agent. " * 60, turn=0),
        said("user", "A refund split three ways loses a cent. Please fix `allocate` and add a test."),
        said(
            "reasoning", "**Looking for the split**\n\nThe parts are floored, so up to n - 1 cents vanish.", exchange=0
        ),
        *[call(f"rg -n 'allocate(' src tests | head -{n}", "src/split.py:27\n" * 3, exchange=0) for n in range(1, 8)],
        call(
            'python -c "import ledgerline.split"',
            "Traceback (most recent call last):\nNameError: name 'Money' is not defined\n",
            1,
            exchange=1,
        ),
        patch(exchange=2),
        call("python -m pytest tests/test_split.py -q", "4 passed in 0.12s\n" + "." * 2000, seconds=1.8, exchange=3),
        said(
            "assistant",
            "Fixed. The parts always add up:\n\n- the *largest* get the cents\n- `allocate` keeps its signature",
            exchange=4,
        ),
        said(
            "user",
            "Should negative refunds work too? A refund that is taken back goes through the same function.",
            turn=2,
        ),
        said(
            "reasoning",
            "With floor division the parts of a negative amount are too small, never too large.",
            turn=2,
            exchange=5,
        ),
        call("git status --short; git diff --stat", " M src/split.py\n", turn=2, exchange=5),
        call("rg -n 'refund' docs", "docs/refunds.md:3\n", turn=2, agent_path="explore", name="Bash"),
        said("notice", "Context compacted, 212k to 26k tokens.", turn=2),
        said(
            "assistant",
            "Negative amounts follow the same rule now: the parts of -1.00 EUR by equal weights are -0.33, -0.33 "
            "and -0.34. All four new tests pass.",
            turn=2,
            exchange=6,
        ),
    ]
    messages = [{"role": "user", "content": [{"type": "input_text", "text": f"message {n}"}]} for n in range(12)]
    sizes = (9_000, 21_000, 63_000, 120_000, 212_000, 26_000, 31_000)
    exchanges = [
        {
            "tokens_input": size,
            "tokens_cached": size - 900,
            "messages": messages[: 2 + number],
            "answer": 'event: response.completed\ndata: {"type": "response.completed"}\n\n',
        }
        for number, size in enumerate(sizes)
    ]
    exchanges[3] |= {
        "cost_usd": None,
        "tokens_input": None,
        "tokens_cached": None,
        "tokens_output": None,
        "tokens_reasoning": None,
    }
    gap = {"from": (START + timedelta(seconds=76)).isoformat(), "to": (START + timedelta(seconds=79)).isoformat()}
    defaults: dict[str, Any] = {
        "title": "A refund split three ways loses a cent",
        "branch": "fix/refund-split",
        "turn_count": 2,
        "retried_count": 1,
        "tokens_input": 412_000,
        "tokens_cached": 360_000,
        "tokens_output": 9_800,
        "tokens_reasoning": 4_100,
        "cost_usd": Decimal("0.81"),
        "unknown_cost_count": 1,
        "unknown_usage_count": 1,
        "model_seconds": 860.0,
        "gaps": [gap | {"reason": "The gateway restarted. Tokens of 1 request are unknown."}],
        "sources": [{"kind": "proxy", "label": "proxy.sqlite3"}, {"kind": "codex", "label": "rollout.jsonl"}],
        "search_text": "a refund split three ways loses a cent",
        "started_at": START,
        "ended_at": START + timedelta(minutes=46),
    }
    return make_session(team=team, steps=steps, exchanges=exchanges, **defaults | fields)
