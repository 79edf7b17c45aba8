"""Starts the agent in place of this process, so that terminal, signals and exit status are its own."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from oneshot import places
from tasks.capture.stanza import stanza
from tasks.wrappers import claude, codex, gateway
from tasks.wrappers.plan import Plan

NOT_FOUND = 127
CANNOT_RUN = 126

MISSING = {
    "codex": "Codex is not installed, or not on PATH. Install it: npm install -g @openai/codex",
    "claude": "Claude Code is not installed, or not on PATH. Install it: npm install -g @anthropic-ai/claude-code",
}
PLANS = {"codex": codex.plan, "claude": claude.plan}


def main(agent: str, args: list[str]) -> int:
    """Become the agent `agent` ("codex" or "claude") with the user's `args`; return a status only if that fails."""
    program = shutil.which(agent)
    if program is None:
        say(MISSING[agent])
        return NOT_FOUND
    plan = make_plan(agent, args)
    for note in plan.notes:
        say(note)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(program, [agent, *plan.args], plan.env)  # noqa: S606 - no shell is wanted
    except OSError as error:
        say(f"{program} cannot be started: {error.strerror}.")
        return CANNOT_RUN


def make_plan(agent: str, args: list[str]) -> Plan:
    """Return the agent's arguments and environment; whatever is missing never keeps it from starting."""
    env = dict(os.environ)
    if args[:1] in (["--help"], ["-h"]):
        note = f"`oneshot {agent}` is {agent} with OneShot's recording and task tools; its own help follows."
        return Plan(args, env, [note])
    here = Path.cwd()
    try:
        data_dir = places.data_dir()
    except places.NoInstallation as error:
        return Plan(args, env, [f"{error} {agent} starts without recording."])
    found = gateway.find(data_dir, env)
    try:
        return PLANS[agent](args, env, here, found, stanza(data_dir))
    except (OSError, ValueError) as error:
        return Plan(args, env, [f"{agent} starts without recording: {error}"])


def say(text: str) -> None:
    """Tell the person something, in one line, before the agent takes the terminal."""
    print(f"oneshot: {text}", file=sys.stderr)  # noqa: T201
