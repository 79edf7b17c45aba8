"""Several importers at once, as a scheduler, a capture and a person may be: each session and exchange once."""

import os
import sqlite3
import subprocess
import sys

from tests.traces.wire import record, rollout, short_session


def test_importers_at_once_make_each_session_once(tmp_path):
    sessions = [short_session(f"thread-{number}") for number in range(30)]
    record(tmp_path / "proxy.sqlite3", *[one for session in sessions for one in session])
    for number, session in enumerate(sessions):
        ids = tuple(one.response_id for one in session)
        (tmp_path / f"rollout-{number}.jsonl").write_bytes(rollout(f"thread-{number}", response_ids=ids))
    environment = {
        **os.environ,
        "ONESHOT_DATA_DIR": str(tmp_path / "var"),
        "DJANGO_SETTINGS_MODULE": "oneshot.settings",
    }
    environment.pop("DATABASE_URL", None)
    argv = [sys.executable, "-m", "oneshot"]
    subprocess.run([*argv, "migrate", "-v", "0"], env=environment, check=True, cwd=tmp_path)
    importers = [
        subprocess.Popen([*argv, "import_traces", str(tmp_path)], env=environment, cwd=tmp_path, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    said = [importer.communicate(timeout=120)[1] for importer in importers]
    assert [importer.returncode for importer in importers] == [0, 0, 0], said
    with sqlite3.connect(tmp_path / "var" / "oneshot.sqlite3") as connection:
        rows = connection.execute("SELECT request_count, tokens_input, steps_from FROM traces_session").fetchall()
        assert rows == [(2, 2000, "codex")] * 30
        assert connection.execute("SELECT count(*) FROM traces_exchange").fetchone() == (60,)
        steps = connection.execute(
            "SELECT source, count(*) FROM traces_step GROUP BY source ORDER BY source"
        ).fetchall()
    assert steps == [("codex", 90), ("proxy", 90)]
