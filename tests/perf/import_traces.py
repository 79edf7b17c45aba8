"""Measures the import of traces: exchanges per second on one core, and an import that finds nothing new.

    .venv/bin/python -m tests.perf.import_traces

Sessions of 20 exchanges each, as an agent makes them: the history again with every request, two new messages, a head
with tools, a streamed answer with a word and a call. The second part fills the gateway's database with a million rows.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402

from oneshot.accounts.actions import default_team  # noqa: E402
from tests.traces.wire import NOON, answered, call, exchange, lines, output, rollout, say, user  # noqa: E402
from traces.importing import import_new, import_paths  # noqa: E402
from traces.models import ImportCursor, Session  # noqa: E402
from traces.proxy import database_path  # noqa: E402
from traces.proxy.wire import schema  # noqa: E402
from traces.proxy.wire.recorder import Recorder  # noqa: E402

PER_SESSION = 20
TOOLS = [{"type": "function", "name": f"tool_{n}", "description": "Does what it says. " * 10} for n in range(10)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exchanges", type=int, default=20_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    folder = Path(settings.DATA_DIR)
    name = Path(tempfile.mkdtemp(prefix="oneshot-perf-")) / "oneshot.sqlite3"
    settings.DATABASES["default"]["NAME"] = str(name)
    try:
        call_command("migrate", verbosity=0)
        measure_rate(options.exchanges)
        measure_rollout(folder / "rollout-perf.jsonl")
        measure_nothing_new(options.rows)
    finally:
        shutil.rmtree(name.parent)
        shutil.rmtree(folder)


def measure_rate(count: int) -> None:
    path = database_path()
    fill(path, count // PER_SESSION)
    size = path.stat().st_size / 1e6
    begun, cpu = time.perf_counter(), time.process_time()
    imported = import_new(default_team())
    seconds, used = time.perf_counter() - begun, time.process_time() - cpu
    assert imported == count == sum(Session.objects.values_list("request_count", flat=True)), imported
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{count} exchanges of {count // PER_SESSION} sessions ({size:.0f} MB): {seconds:.1f} s, {used:.1f} s of one "
        f"core: {count / seconds:.0f} exchanges per second; at most {memory:.0f} MB of memory"
    )


def fill(path: Path, sessions: int) -> None:
    """Record sessions with the recorder's own way of packing, but without its thread and its limits."""
    recorder = Recorder(path)
    recorder.close()
    with sqlite3.connect(path) as connection:
        for number in range(sessions):
            history: list[dict[str, Any]] = [user(f"Mend number {number}. " + "It does not add up. " * 20)]
            for turn in range(PER_SESSION):
                store(connection, recorder, number, turn, history)


def store(connection: sqlite3.Connection, recorder: Recorder, number: int, turn: int, history: list[Any]) -> None:
    thread, call_id = f"thread-{number:06}", f"call-{number}-{turn}"
    ran, words = call(call_id, f"sed -n '{turn},200p' file_{turn}.py"), say(f"Now part {turn} of {number}.")
    one = exchange(history=list(history), session=thread, at=NOON + number * 100 + turn * 5, response_id=f"r-{call_id}")
    body = json.loads(one.request) | {"tools": TOOLS}
    created = {"type": "response.created", "response": {"id": one.response_id}}
    one.request = json.dumps(body).encode()
    one.response = (
        b"data: " + json.dumps(created).encode() + b"\n\n" + answered(words, ran, response_id=one.response_id)
    )
    values, messages = recorder._row(one)
    marks = ",".join("?" * len(schema.EXCHANGE_COLUMNS))
    connection.execute(f"INSERT INTO exchange({','.join(schema.EXCHANGE_COLUMNS)}) VALUES({marks})", values)
    connection.executemany("INSERT OR IGNORE INTO message VALUES(?, ?)", messages.items())
    history += [words, ran, output(call_id, f"{call_id}\n" + "    return a + b  # as it was\n" * 20)]


def measure_rollout(path: Path) -> None:
    """A transcript of 50 MB, read at once and then with one line more."""
    said = {"timestamp": "2025-11-20T12:00:01Z", "type": "response_item"}
    many = [{**said, "payload": {"id": f"w{n}", **say(f"{n} " + "words " * 800)}} for n in range(10_000)]
    path.write_bytes(rollout("perf", *many))
    begun = time.perf_counter()
    import_paths([path], team=default_team())
    whole = time.perf_counter() - begun
    with path.open("ab") as file:
        file.write(lines({**said, "payload": {"id": "last", **say("The last.")}}))
    begun = time.perf_counter()
    import_paths([path], team=default_team())
    more = time.perf_counter() - begun
    size = path.stat().st_size / 1e6
    print(f"a rollout of {size:.0f} MB with 10,000 steps: {whole:.1f} s; one line more: {more * 1000:.0f} ms")


def measure_nothing_new(rows: int) -> None:
    path = database_path()
    with sqlite3.connect(path) as connection:
        names = ",".join(schema.EXCHANGE_COLUMNS)
        others = names.replace("id,", "", 1)
        [have] = connection.execute("SELECT count(*) FROM exchange").fetchone()
        connection.execute(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows - have})"
            f" INSERT INTO exchange({names}) SELECT 'copy-' || i, {others} FROM n, (SELECT * FROM exchange LIMIT 1)"
        )
        [last, key] = connection.execute("SELECT seq, id FROM exchange ORDER BY seq DESC LIMIT 1").fetchone()
    # As if all had been imported, which is what the first part measures.
    cursor = ImportCursor.objects.get(source__contains="proxy")
    cursor.position |= {"seq": last, "id": key}
    cursor.save()
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        assert import_new(default_team()) == 0
        times.append(time.perf_counter() - begun)
    print(f"nothing new at {rows} rows ({path.stat().st_size / 1e6:.0f} MB): {sorted(times)[2] * 1000:.1f} ms")


if __name__ == "__main__":
    main()
