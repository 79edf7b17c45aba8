"""Measures the start: from `oneshot up` to the first page, on a new and on a used data directory, and the memory held.

.venv/bin/python -m tests.perf.start
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
django.setup()

from oneshot.processes import descendants  # noqa: E402
from tests.installation import Installation, wait_for  # noqa: E402


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="oneshot-perf-"))
    for what in ("new data directory", "used data directory"):
        installation = Installation(folder)
        try:
            begun = time.monotonic()
            installation.start()
            urlopen(f"{installation.url}/login/", timeout=10).read()
            print(f"{what}: first page after {time.monotonic() - begun:.1f} s")
            wait_for(lambda i=installation: len(i.processes("oneshot worker")) == 2, "both workers")
            time.sleep(3)  # so that every process has imported what it holds
            report_memory(installation)
        finally:
            ended = installation.interrupt()
            print(f"  Ctrl-C to the end of the last process: {ended:.1f} s\n")
            installation.close()
    shutil.rmtree(folder, ignore_errors=True)


def report_memory(installation: Installation) -> None:
    total = 0
    for pid in [installation.process.pid, *descendants(installation.process.pid)]:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().split()
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        pss = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        total += pss
        print(f"  {pss / 1024:6.0f} MB  {' '.join(words)[:90]}")
    print(f"  {total / 1024:6.0f} MB  in all (proportional share)")


if __name__ == "__main__":
    main()
