"""Measures redaction in megabytes a second, and readiness in a repository of 50,000 files.

.venv/bin/python -m tests.perf.redaction
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()

from tasks.capture.readiness import check  # noqa: E402
from traces.redaction import redact  # noqa: E402

ROOT = Path(__file__).parents[2]
FILES = 50_000


def main() -> None:
    for number in range(10):
        os.environ[f"SERVICE_{number}_API_KEY"] = os.urandom(24).hex()
    source = "".join(path.read_text() for path in sorted(ROOT.glob("[a-z]*/**/*.py")))
    text = json.dumps(source * (8_000_000 // len(source) + 1))
    seconds = median(lambda: redact(text))
    print(f"redact {len(text) / 1e6:.1f} MB of JSON, 10 known values: {len(text) / seconds / 1e6:.0f} MB/s")
    command = "git status && .venv/bin/pytest -q tests/tasks"
    seconds = median(lambda: [redact(command) for _ in range(1000)])
    print(f"redact a command of {len(command)} characters: {seconds * 1000:.1f} µs")
    with tempfile.TemporaryDirectory(prefix="oneshot-perf-") as directory:
        make_repository(Path(directory))
        print(f"readiness, {FILES:,} files: {median(lambda: check(Path(directory)), time.perf_counter):.3f} s")


def median(work: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Return the median time of five goes, in seconds of the clock that is given."""
    times = []
    for _ in range(5):
        started = clock()
        work()
        times.append(clock() - started)
    return statistics.median(times)


def make_repository(folder: Path) -> None:
    for number in range(FILES):
        below = folder / f"d{number // 5000}" / f"s{number // 100}"
        below.mkdir(parents=True, exist_ok=True)
        (below / f"f{number}.py").write_text(f"x = {number}\n")
    identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost"]
    for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "x"]):
        subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    main()
