"""One question asked once: the answer read, its evidence checked, one more try for an answer that cannot be used."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from runs.judging import answers, checking, prompts
from runs.judging.client import NOTHING_USED, Client, Refused, Said, Usage
from runs.judging.evidence import Section

CANNOT_ASSESS = "cannot_assess"


@dataclass(kw_only=True)
class Asked:
    """What came of one sample. `answer` is what counts; `stated` is what the model said, "" when it said nothing
    that can be read. `problem` is "", refused or malformed."""

    answer: str
    stated: str = ""
    problem: str = ""
    evidence_checked: str = "none"
    evidence_reason: str = ""
    evidence: list[dict[str, Any]] = field(default_factory=list)
    rationale: str = ""
    replies: list[str] = field(default_factory=list)
    usage: Usage = NOTHING_USED
    seconds: float = 0.0
    requests: int = 0

    @property
    def raw(self) -> str:
        """Return the raw answers as one JSON document."""
        return json.dumps(self.replies, ensure_ascii=False)


def ask(client: Client, question: prompts.Question, sections: Sequence[Section]) -> Asked:
    """Ask one question. Raises what Client.ask raises, except for a refusal, which is an answer of a kind."""
    conversation = prompts.messages(question, sections, prompts.nonce_for(sections))
    result = Asked(answer=CANNOT_ASSESS)
    for last in (False, True):
        try:
            said = client.ask(conversation)
        except Refused as refusal:
            _count(result, refusal.usage, 0.0)
            result.replies.append(f"[refused] {refusal}")
            result.problem, result.rationale = "refused", str(refusal)
            return result
        _count(result, said.usage, said.seconds)
        result.replies.append(said.text[: answers.MOST_BYTES])
        problem = _take(result, said, question, sections)
        if not problem or last:
            break
        conversation += [
            {"role": "assistant", "content": said.text[: answers.MOST_BYTES] or "(nothing)"},
            {"role": "user", "content": prompts.REPAIR.replace("{problem}", problem)},
        ]
    return _decide(result)


def _count(result: Asked, usage: Usage, seconds: float) -> None:
    result.usage += usage
    result.seconds += seconds
    result.requests += 1


def _take(result: Asked, said: Said, question: prompts.Question, sections: Sequence[Section]) -> str:
    """Put what was said into the result, and return what is wrong with it, or ""."""
    try:
        reply = answers.read(said.text, question.key)
    except answers.Malformed as error:
        result.problem, result.stated = "malformed", ""
        result.evidence, result.evidence_checked = [], "none"
        result.evidence_reason = str(error)[:500]
        return f"{error}."
    checked = checking.check(reply.evidence, sections)
    result.problem, result.stated, result.rationale = "", reply.verdict, reply.reasoning
    result.evidence, result.evidence_checked, result.evidence_reason = checked.quotes, checked.state, checked.reason
    if checked.state == "invalid":
        return checked.reason
    if reply.verdict == "met" and not checked.good:
        return "it says met and quotes nothing that shows it."
    return ""


def _decide(result: Asked) -> Asked:
    """Let the verdict count as far as its evidence carries it."""
    if result.problem:
        return result
    good = sum(quote["valid"] for quote in result.evidence)
    if result.evidence_checked == "invalid" and good:
        # What holds is enough to stand on; what does not stays visible as such.
        result.evidence_checked = "repaired"
    if result.stated == CANNOT_ASSESS:
        return result
    if (result.stated == "met" and not good) or result.evidence_checked == "invalid":
        result.evidence_checked = "invalid" if result.evidence else "none"
        result.evidence_reason = result.evidence_reason or "It says met and quotes nothing that shows it."
        return result
    result.answer = result.stated
    return result
