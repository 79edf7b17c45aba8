"""Times the large pages over generated runs: 100,000 on SQLite, 1,000,000 on PostgreSQL. Not a test; see docs.

    python tests/perf/pages.py                       both databases, as in docs/performance.md
    python tests/perf/pages.py --postgres 0          SQLite only
    python tests/perf/pages.py --keep /tmp/pages     keep the data there, and use it again the next time

PostgreSQL is started for the purpose, in a temporary directory, from the binaries that Debian installs.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PORT = 54329
ROUNDS, WARM_UPS = 15, 2
PAGES = (
    ("leaderboard", "/leaderboard/"),
    ("leaderboard, sorted by cost", "/leaderboard/?sort=cost"),
    ("leaderboard, 60 tasks in the matrix", "/leaderboard/?tasks=all"),
    ("leaderboard, live and unchanged", "/leaderboard/live/"),
    ("one board", "/boards/generated/"),
    ("list of boards", "/boards/"),
    ("board excerpt", "/boards/excerpt/"),
    ("runs", "/runs/"),
    ("runs, a later page", "/runs/?{older}"),
    ("runs, ungraded", "/runs/?status=infra_failed"),
    ("runs of one agent", "/runs/?agent={agent}"),
    ("ungraded runs of one agent", "/runs/?agent={agent}&status=infra_failed"),
    ("runs of one task", "/runs/?task={task}"),
    ("runs of one task and agent", "/runs/?task={task}&agent={agent}"),
    ("runs, timed out", "/runs/?outcome=timeout"),
    ("runs, slowest first", "/runs/?sort=-time"),
    ("runs of one agent, dearest first", "/runs/?agent={agent}&sort=-cost"),
    ("runs, search", "/runs/?q=generated-017"),
    ("runs on a task's page", "/runs/of-task/{task}/"),
    ("header", "/runs/pulse/"),
    ("tasks", "/tasks/"),
    ("overview", "/"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sqlite", type=int, default=100_000, help="runs on SQLite; 0 leaves it out")
    parser.add_argument("--postgres", type=int, default=1_000_000, help="runs on PostgreSQL; 0 leaves it out")
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--agents", type=int, default=40)
    parser.add_argument("--explain", action="store_true", help="print the plan of every query over 20 ms")
    parser.add_argument("--keep", type=Path, help="a directory for the data, kept and used again")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        return measure(options.explain)
    base = options.keep or Path(tempfile.mkdtemp(prefix="oneshot-pages-"))
    try:
        if options.sqlite:
            report(f"SQLite, {options.sqlite:,} runs", {}, base / "sqlite", options.sqlite, options)
        if options.postgres:
            with postgres(base / "postgres") as url:
                title = f"PostgreSQL, {options.postgres:,} runs"
                report(title, {"DATABASE_URL": url}, base / "data", options.postgres, options)
    finally:
        if not options.keep:
            shutil.rmtree(base, ignore_errors=True)


def report(title: str, env: dict[str, str], data: Path, runs: int, options: argparse.Namespace) -> None:
    """Generate the data unless it is there, measure in a process of its own, and print a table."""
    env = {**os.environ, "ONESHOT_DATA_DIR": str(data), "ONESHOT_LOG_LEVEL": "ERROR", **env}

    def manage(*command: str) -> None:
        subprocess.run([sys.executable, "manage.py", *command], cwd=ROOT, env=env, check=True)

    if not (data / "generated").exists():
        started = time.monotonic()
        manage("migrate", "-v0")
        sizes = ("--runs", str(runs), "--tasks", str(options.tasks), "--agents", str(options.agents))
        manage("generate_runs", *sizes)
        (data / "generated").touch()
        print(f"Generated in {time.monotonic() - started:.0f} s.", file=sys.stderr)
    command = [sys.executable, __file__, "--measure", *(["--explain"] if options.explain else [])]
    measured = subprocess.run(command, cwd=ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True)
    print(f"\n{title}, {options.tasks} tasks, {options.agents} agents\n")
    print("| page | server time, median | slowest of 15 | queries | size |\n|---|---|---|---|---|")
    for row in json.loads(measured.stdout.splitlines()[-1]):
        if row["status"] not in (200, 204):
            print(f"| {row['name']} | answers {row['status']} | | | |")
            continue
        size = f"{row['bytes'] / 1000:.0f} KB" if row["bytes"] else "empty"
        figures = f"{row['median']:.0f} ms | {row['worst']:.0f} ms | {row['queries']} | {size}"
        print(f"| {row['name']} | {figures} |")


def measure(explain: bool) -> None:
    """Print one JSON line with the figures of every page, as a member of the team sees it."""
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "oneshot.settings")
    import django

    django.setup()
    from django.conf import settings
    from django.test import Client

    from oneshot.accounts.models import Membership, Team, User
    from runs.models import AgentConfig
    from tasks.models import Task

    settings.ALLOWED_HOSTS = ["*"]
    # Access by membership is the harder case for the database: a superuser needs no condition.
    user, _ = User.objects.get_or_create(username="member")
    Membership.objects.get_or_create(team=Team.objects.get(slug="generated"), user=user)
    client = Client(raise_request_exception=False)
    client.force_login(user)
    older = re.search(r'href="\?([^"]*after=[^"]*)"', client.get("/runs/").content.decode())
    names = {
        "agent": AgentConfig.objects.earliest("created_at").pk,
        "task": Task.objects.earliest("slug").slug,
        "older": html.unescape(older[1]) if older else "",
    }
    print(json.dumps([_measure_page(client, name, path.format(**names), explain) for name, path in PAGES]))


def _measure_page(client: Any, name: str, path: str, explain: bool) -> dict[str, Any]:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    headers = {}
    if "/live/" in path:
        page = client.get(path).content.decode()
        headers = {"X-Board-Stamp": re.search(r'data-stamp="(\w+)"', page)[1]}  # type: ignore[index]
    for _ in range(WARM_UPS):
        with CaptureQueriesContext(connection) as capture:
            response = client.get(path, headers=headers)
        # The log is emptied when the next request starts.
        queries = list(capture.captured_queries)
    times = []
    for _ in range(ROUNDS if response.status_code < 400 else 0):
        started = time.perf_counter()
        client.get(path, headers=headers)
        times.append(1000 * (time.perf_counter() - started))
    if explain:
        _explain(name, queries)
    return {
        "name": name,
        "status": response.status_code,
        "median": statistics.median(times) if times else None,
        "worst": max(times, default=None),
        "queries": len(queries),
        "bytes": len(response.content),
    }


def _explain(name: str, queries: list[dict[str, str]]) -> None:
    from django.db import connection

    how = "EXPLAIN (ANALYZE, BUFFERS)" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    for query in queries:
        if float(query["time"]) < 0.02 or not query["sql"].startswith("SELECT"):
            continue
        print(f"\n{name}: {1000 * float(query['time']):.0f} ms\n{query['sql']}", file=sys.stderr)
        with connection.cursor() as cursor:
            cursor.execute(f"{how} {query['sql'].replace('%', '%%')}")
            print("\n".join(" ".join(map(str, row)) for row in cursor.fetchall()), file=sys.stderr)


@contextmanager
def postgres(directory: Path) -> Iterator[str]:
    """Run a PostgreSQL of our own on a socket in `directory`, and yield its URL."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries:
        raise SystemExit("PostgreSQL is not installed. Install Debian's postgresql, or pass --postgres 0.")
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []

    def run(program: str, *arguments: str) -> None:
        subprocess.run([*as_user, binaries[-1] / program, *arguments], check=True, stdout=subprocess.DEVNULL, cwd="/")

    fresh = not directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    directory.parent.chmod(0o755)
    if as_user:
        shutil.chown(directory, "postgres", "postgres")
    if fresh:
        run("initdb", "-D", f"{directory}/data", "-A", "trust", "-E", "UTF8", "-U", "oneshot")
    settings = f"-k {directory} -p {PORT} -c listen_addresses= -c shared_buffers=256MB"
    run("pg_ctl", "-D", f"{directory}/data", "-w", "-l", f"{directory}/log", "-o", settings, "start")
    try:
        if fresh:
            run("createdb", "-h", str(directory), "-p", str(PORT), "-U", "oneshot", "oneshot")
        yield f"postgres://oneshot@{str(directory).replace('/', '%2F')}:{PORT}/oneshot"
    finally:
        run("pg_ctl", "-D", f"{directory}/data", "-w", "-m", "fast", "stop")


if __name__ == "__main__":
    main()
