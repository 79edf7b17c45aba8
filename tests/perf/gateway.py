"""Measures what the gateway adds: latency per request, exchanges per second, memory over a large stream.

    .venv/bin/python -m tests.perf.gateway [--requests 300]

Each request is like a coding agent's: 40 KB that repeat a history, answered by a short stream. The service is a
process of its own. Ways are asked in turns, so that a busy machine disturbs them alike.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
import django

django.setup()

from tests.installation import free_port, wait_for  # noqa: E402 - settings come first
from tests.proxy.running import ENV_DIR, environment_problem, running_gateway  # noqa: E402
from tests.servers import responses  # noqa: E402
from tests.servers.responses import ScriptedResponses, Step, say  # noqa: E402
from traces.proxy.wire.doors import DoorSpec, open_door  # noqa: E402

HEADERS = {"content-type": "application/json", "session-id": "perf"}


def body(number: int) -> bytes:
    history = [{"role": "user", "content": f"message {index} " + "word " * 380} for index in range(20)]
    history.append({"role": "user", "content": f"request {number}"})
    return json.dumps({"model": "scripted-1", "stream": True, "input": history}).encode()


def serve(steps: list[Step], pipe) -> None:
    # As services do: else the kernel holds small pieces back for 40 ms, and that is measured instead.
    responses._Handler.disable_nagle_algorithm = True
    server = ScriptedResponses(steps, "127.0.0.1")
    server.start()
    pipe.send(server.url)
    pipe.recv()


class Way:
    """One way to the service, over one connection that stays open."""

    def __init__(self, name: str, address: str, path: str) -> None:
        self.name, self.path = name, path
        parts = urlsplit(address)
        self.host, self.port = parts.hostname, parts.port
        self.connection: http.client.HTTPConnection | None = None
        self.first: list[float] = []
        self.whole: list[float] = []

    def ask(self, number: int) -> None:
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
            self.connection.connect()
        data = body(number)
        begun = time.perf_counter()
        self.connection.request("POST", self.path, data, HEADERS)
        answer = self.connection.getresponse()
        answer.read1(1)
        self.first.append(time.perf_counter() - begun)
        answer.read()
        self.whole.append(time.perf_counter() - begun)
        assert answer.status == 200, answer.status


def bare_proxy(folder: Path, stack) -> str:
    """Start mitmproxy without our addon, streaming, and return its address."""
    port = free_port()
    python = next(ENV_DIR.glob("env-*/bin/python"))
    code = "from mitmproxy.tools.main import mitmdump; mitmdump()"
    argv = [
        *(str(python), "-I", "-c", code, "-q", "--listen-host", "127.0.0.1", "-p", str(port)),
        *("--set", f"confdir={folder}", "--set", "stream_large_bodies=1", "--set", "connection_strategy=lazy"),
    ]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.append(process)

    def listens() -> bool:
        try:
            http.client.HTTPConnection("127.0.0.1", port, timeout=1).connect()
        except OSError:
            return False
        return True

    wait_for(listens, "mitmproxy")
    return f"http://127.0.0.1:{port}"


def latency(gateway, service: str, bare: str, requests: int) -> None:
    spec = DoorSpec(
        run="perf", provider="s", base_url=service, token_budget=10**12, expires_at=time.time() + 3600, key_env=""
    )
    token = open_door(gateway.database, spec)
    ways = [
        Way("direct", service, "/v1/responses"),
        Way("mitmproxy without addon", bare, f"{service}/responses"),
        Way("forward door", gateway.url, f"{service}/responses"),
        Way("reverse path", gateway.url, "/scripted/v1/responses"),
        Way("run door", gateway.url, f"/run/{token}/s/v1/responses"),
    ]
    for number in range(requests + 20):
        for way in ways:
            way.ask(number)
    for way in ways:
        first, whole = (sorted(values[20:]) for values in (way.first, way.whole))
        middle = statistics.median(whole)
        added = (middle - statistics.median(ways[0].whole[20:])) * 1000
        over = (middle - statistics.median(ways[1].whole[20:])) * 1000
        print(
            f"{way.name:24} first byte {statistics.median(first) * 1000:6.2f} ms, whole {middle * 1000:6.2f} ms, "
            f"p95 {whole[int(len(whole) * 0.95)] * 1000:6.2f} ms, over direct {added:+6.2f} ms, "
            f"over mitmproxy {over:+6.2f} ms"
        )


def throughput(gateway, count: int) -> None:
    before = gateway.health()["recorded"]

    def client(number: int) -> None:
        way = Way("", gateway.url, "/scripted/v1/responses")
        for index in range(count // 8):
            way.ask(number * count + index)

    begun = time.perf_counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(client, range(8)))
    seconds = time.perf_counter() - begun
    total = count // 8 * 8
    wait_for(lambda: gateway.health()["recorded"] >= before + total, "the record", 120)
    print(f"8 clients: {total / seconds:.0f} exchanges/s, recorded {time.perf_counter() - begun - seconds:.2f} s later")


def memory(gateway) -> None:
    pid = gateway.pid
    status = Path(f"/proc/{pid}/status")
    read = lambda name: next(int(x.split()[1]) / 1024 for x in status.read_text().splitlines() if x.startswith(name))  # noqa: E731
    before, begun = read("VmRSS"), time.perf_counter()
    code, data = gateway.ask("/big/v1/responses", body(0), headers=HEADERS)
    seconds = time.perf_counter() - begun
    assert code == 200
    print(f"stream of {len(data) / 1e6:.0f} MB in {seconds:.1f} s: {before:.0f} MB before, peak {read('VmHWM'):.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=300)
    options = parser.parse_args()
    if problem := environment_problem():
        raise SystemExit(problem)
    context = multiprocessing.get_context("spawn")
    processes, urls, ends = [], [], []
    for steps in ([Step(items=[say("Hello.")])], [Step(items=[say("Hello.")], pad_bytes=50_000_000)]):
        here, there = context.Pipe()
        process = context.Process(target=serve, args=(steps, there), daemon=True)
        process.start()
        urls.append(here.recv())
        processes.append(process)
        ends.append(here)
    started: list[subprocess.Popen] = []
    providers = {"scripted": urls[0].removesuffix("/v1"), "big": urls[1].removesuffix("/v1")}
    with tempfile.TemporaryDirectory() as folder:
        try:
            bare = bare_proxy(Path(folder) / "bare", started)
            with running_gateway(Path(folder) / "gateway", providers) as gateway:
                latency(gateway, urls[0], bare, options.requests)
                throughput(gateway, options.requests * 4)
                memory(gateway)
                size = sum(p.stat().st_size for p in gateway.database.parent.glob("proxy.sqlite3*"))
                print(f"database {size / 1e6:.1f} MB for {gateway.health()['recorded']} exchanges")
        finally:
            for proxy in started:
                proxy.terminate()
            for end in ends:
                end.send("end")


if __name__ == "__main__":
    main()
