"""Times the pages of sessions: the list over 10,000 sessions, the viewer of a session of 10,000 steps. Not a test.

    python tests/perf/sessions.py                    as in docs/performance.md
    python tests/perf/sessions.py --sessions 1000 --steps 2000 --rounds 5

Everything is made in a temporary directory, on SQLite, or in the database that DATABASE_URL names (an empty one).
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import statistics
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WARM_UPS = 2
WORDS = ("refund", "split", "cent", "parser", "retry", "clock", "export", "money", "schema", "branch")
TEXT_CHARS = 4_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="oneshot-sessions-"))
    try:
        os.environ |= {
            "ONESHOT_DATA_DIR": str(base),
            "ONESHOT_SECRET_KEY": "of no use elsewhere",
            "DJANGO_SETTINGS_MODULE": "oneshot.settings",
        }
        sys.path.insert(0, str(ROOT))
        import django

        django.setup()
        measure(options)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def measure(options: argparse.Namespace) -> None:
    from django.core.management import call_command
    from django.db import connection, reset_queries

    call_command("migrate", verbosity=0)
    user, long, hostile = fill(options.sessions, options.steps)
    middle, half = options.steps // 2, options.sessions // 2
    pages = [
        ("list", "/sessions/"),
        ("list, a later page", f"/sessions/?{{older}}&from={half}"),
        ("list, one agent", "/sessions/?agent=codex"),
        ("list, one model", "/sessions/?model=model-3"),
        ("list, without task or run", "/sessions/?linked=no"),
        ("list, dearest first", "/sessions/?sort=-cost"),
        ("list, a common word", "/sessions/?q=refund"),
        ("list, a word nobody said", "/sessions/?q=nobodysaidthis"),
        ("filters", "/sessions/filters/"),
        ("viewer", f"/sessions/{long}/"),
        ("viewer, in the middle", f"/sessions/{long}/?step={middle}"),
        ("viewer, without tools", f"/sessions/{long}/?step={middle}&hide=tools"),
        ("viewer, embedded", f"/sessions/{long}/viewer/?step={middle}"),
        ("viewer, the next steps", f"/sessions/{long}/steps/?after={middle}"),
        ("viewer, hostile texts of 200 KB", f"/sessions/{hostile}/"),
        ("one result", f"/sessions/{long}/steps/{middle + 2}/?whole=1"),
        ("find, a word nobody said", f"/sessions/{long}/find/?q=nobodysaidthis"),
        ("requests", f"/sessions/{long}/exchanges/"),
        ("one request", f"/sessions/{long}/exchanges/200/"),
    ]
    print(f"{connection.vendor}, {options.sessions:,} sessions, {options.steps:,} steps\n")
    print("| page | processor | elapsed | slowest | queries | size |")
    print("|---|---|---|---|---|---|")
    from django.test import Client

    client = Client(HTTP_HOST="localhost")
    client.force_login(user)
    found = re.search(r'rel="next" href="\?([^"]*)&amp;from=', client.get("/sessions/").content.decode())
    older = found[1] if found else ""
    for name, url in pages:
        url = url.replace("{older}", older)
        times: list[float] = []
        works: list[float] = []  # of this process alone: what other programs take does not count
        for round_ in range(WARM_UPS + options.rounds):
            started, worked = time.perf_counter(), time.process_time()
            answer = client.get(url)
            size = len(answer.content)
            if round_ >= WARM_UPS:
                times.append((time.perf_counter() - started) * 1000)
                works.append((time.process_time() - worked) * 1000)
        assert answer.status_code == 200, (name, answer.status_code)
        connection.force_debug_cursor = True
        reset_queries()
        client.get(url)
        queries = len(connection.queries)
        connection.force_debug_cursor = False
        row = (name, f"{statistics.median(works):.0f} ms", f"{statistics.median(times):.0f} ms", f"{max(times):.0f} ms")
        print("|", " | ".join((*row, str(queries), f"{size / 1000:.0f} KB")), "|", flush=True)
    for name in ("atif.json", "otlp.json", "steps.jsonl"):
        started = time.perf_counter()
        size = sum(map(len, client.get(f"/sessions/{long}/export/{name}").streaming_content))
        print(f"| export, {name} | {(time.perf_counter() - started) * 1000:.0f} ms | | | | {size / 1e6:.1f} MB |")


def fill(sessions: int, steps: int) -> tuple[Any, Any, Any]:
    """Make the sessions, and two long ones: one like people's, one of which every text is long and hostile."""
    from tests.builders import make_superuser, make_task, make_team
    from tests.sessions.builders import START, call, make_session, patch, said
    from traces.models import Session

    random.seed(1)
    user = make_superuser("perf")
    team = make_team(owner=user)
    rows = []
    for number in range(sessions):
        said_words = " ".join(random.choices(WORDS, k=TEXT_CHARS // 7))
        rows.append(
            Session(
                team=team,
                agent=random.choice(("codex", "claude_code")),
                thread_id=f"t{number}",
                title=" ".join(random.choices(WORDS, k=6)),
                model_names=[f"model-{number % 7}"],
                repository=f"https://example.org/r{number % 40}.git",
                branch="main",
                started_at=START - timedelta(minutes=number),
                ended_at=START - timedelta(minutes=number - 9),
                ending="completed",
                step_count=number % 300,
                tokens_input=number * 100,
                tokens_output=number,
                cost_usd=None if number % 9 == 0 else number % 77,
                search_text=said_words,
            )
        )
    Session.objects.bulk_create(rows, batch_size=500)
    for number in range(0, sessions, max(1, sessions // 500)):
        make_task(team=team, session=rows[number], version=False)
    made: list[dict[str, Any]] = []
    exchanges = []
    for number in range(0, steps, 5):
        turn, exchange = number // 100 + 1, len(exchanges)
        first = said("user", f"Turn {turn}") if number % 100 == 0 else said("reasoning", "Thinking. " * 40)
        body = [first, call("cat file", "line of output\n" * 400, exit_code=int(number % 35 == 0)), call("ls", "a.py")]
        body += [patch(), said("assistant", "**Done**, and tested. " * 12)]
        made += [step | {"turn": turn, "exchange": exchange} for step in body]
        history = [{"role": "user", "content": f"message {n}"} for n in range(min(exchange, 300) + 1)]
        exchanges.append(
            {"tokens_input": 5_000 + number % 900 * 200, "messages": history, "answer": "data: {}\n\n" * 99}
        )
    long = make_session(team=team, title="Long", steps=made[:steps], exchanges=exchanges, started_at=START)
    nasty = ("\0" * 200_000, "&" * 200_000, "|" * 200_000, "\u202e" * 70_000)
    hard = [call(text[:400].strip("\0") or "x", text, exit_code=1) for text in nasty * 15]
    hard += [said("assistant", text) for text in nasty * 15]
    hostile = make_session(team=team, title="Hostile", steps=hard, started_at=START)
    return user, long.pk, hostile.pk


if __name__ == "__main__":
    main()
