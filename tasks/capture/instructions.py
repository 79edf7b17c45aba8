"""What the user asked for, out of all that stands in a session as the user's words.

Clients add a lot in the user's name: the environment, files of instructions, reminders, outputs of slash commands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from traces.models import Session, Step
from traces.redaction import redact

START_TOOL = re.compile(r"start_task")
MOST_CHARACTERS = 100_000

# Put in front of, or between, what the user wrote; taken out with all that is inside.
WRAPPERS = (
    *(
        "environment_context",
        "user_instructions",
        "system-reminder",
        "INSTRUCTIONS",
        "turn_aborted",
        "subagent_notification",
    ),
    *("local-command-stdout", "local-command-stderr", "local-command-caveat", "command-name", "command-message"),
    *("command-args", "command-contents", "bash-input", "bash-stdout", "bash-stderr", "user_shell_command"),
    *(
        "ide_opened_file",
        "ide_selection",
        "ide_diagnostics",
        "task-notification",
        "session-start-hook",
        "user-prompt-submit-hook",
    ),
    *("skill", "permissions instructions", "collaboration_mode"),
)
WRAPPED = re.compile(
    "|".join(rf"<{re.escape(name)}(?:\s[^>]*)?>.*?(?:</{re.escape(name)}>|\Z)" for name in WRAPPERS), re.DOTALL
)
# A whole message that begins so is none of the user's.
NOT_ASKED = re.compile(
    r"""
    \#\ AGENTS\.md\ instructions | \#\ CLAUDE\.md\b
    | Caveat:\ The\ messages\ below\ were\ generated\ by\ the\ user\ while\ running\ local\ commands
    | \[Request\ interrupted\ by\ user | This\ session\ is\ being\ continued\ from\ a\ previous\ conversation
    | Another\ language\ model\ started\ to\ solve\ this\ problem
    """,
    re.VERBOSE,
)
SLASH_COMMAND = re.compile(r"/[a-z][a-z0-9_:-]*(\s.*)?", re.DOTALL)
SHELL_ESCAPE = re.compile(r"!\s*\S.*", re.DOTALL)
# An editor's preface ends where the request begins.
EDITOR_PREFACE = re.compile(
    r"\A# Context from my IDE setup:.*?^## My request for Codex:\s*\n", re.DOTALL | re.MULTILINE
)
# Agreement moves a session on and asks for nothing.
AGREEMENT = re.compile(
    r"((yes|yep|yeah|y|no|ok|okay|sure|thanks|thank you|go|go on|go ahead|continue|proceed|do it|please do|please|start"
    r"|start (it|the task|the capture|recording|capturing)( now)?|begin"
    r"|sounds good|looks good|lgtm|great|perfect|now|then|and)\b[\s.!,]*)+",
    re.IGNORECASE,
)
LONGEST_AGREEMENT = 60


@dataclass(frozen=True)
class Request:
    """What the user asked, redacted, with the position of its step in the session."""

    text: str
    position: int
    at: datetime | None


def request_of(session: Session, *, slug: str = "", started_at: datetime | None = None) -> Request | None:
    """Return the request that a capture was made for, or None when the session holds none.

    It is the last thing asked before the call that started the capture `slug`; without such a call the last thing
    asked before `started_at`; else the first of all. What came later are corrections and is never taken.
    """
    asked = [step for step in _requests(session) if step.text]
    if not asked:
        return None
    call = _start_call(session, slug)
    if call is not None:
        before = [request for request in asked if request.position < call.position]
    elif started_at is not None:
        before = [request for request in asked if request.at is not None and request.at <= started_at]
    else:
        before = []
    return before[-1] if before else asked[0]


def asked_in(text: str) -> str:
    """Return what a message in the user's name asks for, without what the client put into it; "" for nothing."""
    text = EDITOR_PREFACE.sub("", text)
    if NOT_ASKED.match(text.lstrip()):
        return ""
    text = WRAPPED.sub("", text).strip()
    agrees = len(text) <= LONGEST_AGREEMENT and AGREEMENT.fullmatch(text)
    if agrees or SLASH_COMMAND.fullmatch(text) or SHELL_ESCAPE.fullmatch(text):
        return ""
    return text[:MOST_CHARACTERS]


def _requests(session: Session) -> Iterator[Request]:
    for step in session.shown_steps().filter(kind=Step.Kind.USER, agent_path=""):
        text = asked_in(step.body())
        if text:
            yield Request(redact(text), step.position, step.at)


def _start_call(session: Session, slug: str) -> Step | None:
    """Return the call that answered with this capture's slug."""
    if not slug:
        return None
    calls = session.shown_steps().filter(kind=Step.Kind.TOOL, name__icontains="start_task")
    # In code mode the call stands inside of a script, under another tool's name.
    inside = session.shown_steps().filter(kind=Step.Kind.TOOL, result_preview__contains=slug)
    found = {step.position: step for step in [*calls[:200], *inside[:200]] if slug in step.result()}
    return found[min(found)] if found else None
