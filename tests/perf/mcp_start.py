"""How long agents wait for the MCP server: from its start to its answers, and to the end of its first call.

    .venv/bin/python tests/perf/mcp_start.py [--times 10]

"cold" starts without any compiled Python file (PYTHONPYCACHEPREFIX names an empty directory for each start).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HELLO = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "perf", "version": "0"}}


def measure(data_dir: Path, repository: Path, cache: str) -> dict[str, float]:
    """Start a server once; return seconds from its start to each answer, and its memory in MB."""
    env = {**os.environ, "ONESHOT_DATA_DIR": str(data_dir)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    if cache:
        env["PYTHONPYCACHEPREFIX"] = cache
    words = [sys.executable, "-P", "-m", "oneshot", "capture", "mcp"]
    begun = time.perf_counter()
    process = subprocess.Popen(words, cwd=repository, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    found = {}
    for number, (name, method, params) in enumerate(
        [
            ("initialize", "initialize", HELLO),
            ("tools/list", "tools/list", {}),
            ("first call", "tools/call", {"name": "repo.check_readiness.v1", "arguments": {}}),
        ]
    ):
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        process.stdin.write(json.dumps(message).encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        found[name] = time.perf_counter() - begun
        if number == 0:
            process.stdin.write(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}\n')
    again = time.perf_counter()
    process.stdin.write(json.dumps({**message, "id": 9}).encode() + b"\n")
    process.stdin.flush()
    process.stdout.readline()
    found["next call"] = time.perf_counter() - again
    status = Path(f"/proc/{process.pid}/status").read_text()
    found["MB"] = next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    process.stdin.close()
    process.wait(30)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "repository"
        repository.mkdir()
        subprocess.run(["git", "init", "-q", "."], cwd=repository, check=True)
        data_dir = Path(folder) / "var"
        measure(data_dir, repository, "")
        for kind in ("warm", "cold"):
            rows = []
            for number in range(times):
                cache = f"{folder}/{number}" if kind == "cold" else ""
                rows.append(measure(data_dir, repository, cache))
            for name in rows[0]:
                values = sorted(row[name] for row in rows)
                print(f"{kind}  {name:<11} median {statistics.median(values):8.3f}  most {values[-1]:8.3f}")


if __name__ == "__main__":
    main()
