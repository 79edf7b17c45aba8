"""Times the desk of a curator on the server: a task with a 5,000-line diff and 2,000 tests, a queue of 10,000 tasks.

python tests/perf/curation.py
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 20
LINES = 5_000
TESTS = 2_000
TASKS = 10_000

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def big_diff() -> bytes:
    """Return a diff that adds LINES lines in 20 files."""
    each = LINES // 20
    parts = []
    for number in range(20):
        name = f"pay/module_{number}.py"
        body = "".join(f"+    value_{line} = compute(base_{line}, rate={line})\n" for line in range(each))
        parts.append(
            f"diff --git a/{name} b/{name}\n--- a/{name}\n+++ b/{name}\n@@ -1,1 +1,{each + 1} @@\n def run():\n{body}"
        )
    return "".join(parts).encode()


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "oneshot.settings")
    import django

    django.setup()
    from django.core.management import call_command
    from django.test import Client

    from oneshot import store
    from tasks.models import Task, TaskVersion
    from tests.builders import make_task, make_team, make_user

    call_command("migrate", verbosity=0)
    owner = make_user("mira")
    team = make_team(owner=owner)
    tests = [
        {"path": f"tests/test_{n}.py", "digest": store.put_text(f"def test(): {n}\n"), "rubric_id": None}
        for n in range(20)
    ]
    task = make_task(slug="big", team=team, version={"diff": big_diff(), "hidden_tests": tests})
    version = task.versions.get()
    names = [f"tests/test_{n % 20}.py::test_{n}" for n in range(TESTS)]
    version.record_validation(
        valid=True, reason="", fail_to_pass=names[:100], pass_to_pass=names[100:], excluded=[], checks=[]
    )
    rows = [Task(slug=f"t-{n}", title=f"Task {n}", team=team, state="draft") for n in range(TASKS)]
    Task.objects.bulk_create(rows, batch_size=1000)
    versions = [
        TaskVersion(task=row, number=1, digest=f"{n:064x}", title=row.title, instructions="Make it add.")
        for n, row in enumerate(rows)
    ]
    TaskVersion.objects.bulk_create(versions, batch_size=1000)
    for row, made in zip(rows, versions, strict=True):
        row.current_version = made
    Task.objects.bulk_update(rows, ["current_version"], batch_size=1000)
    client = Client(headers={"host": "localhost"})
    client.force_login(owner)
    pages = [
        (f"desk, {part}", f"/tasks/big/curate/?part={part}")
        for part in ("instructions", "reference", "tests", "history")
    ]
    pages += [
        ("queue", "/tasks/curate/"),
        ("rail after an edit", "/tasks/big/curate/rail/"),
        ("a task in the middle", "/tasks/t-5000/curate/"),
    ]
    print(f"{'page':24} {'first ms':>9} {'median ms':>10} {'most ms':>8} {'KB':>6}")
    for name, url in pages:
        times, size = [], 0
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            answer = client.get(url)
            times.append(1000 * (time.perf_counter() - begun))
            size = len(answer.content)
            if answer.status_code not in (200, 302):
                sys.exit(f"{url} answers {answer.status_code}")
        print(f"{name:24} {times[0]:9.0f} {statistics.median(times):10.0f} {max(times[1:]):8.0f} {size / 1000:6.0f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="oneshot-perf-") as directory:
        os.environ["ONESHOT_DATA_DIR"] = directory
        main()
