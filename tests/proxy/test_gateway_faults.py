"""Nothing that happens to the gateway's record reaches a client, and what is lost is said."""

import contextlib
import http.client
import json
import os
import resource
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from oneshot.processes import descendants
from tests.installation import is_alive, wait_for
from tests.proxy.running import running_gateway, text_of
from tests.servers.responses import Step, say, scripted_responses
from tests.servers.upstream import upstream
from traces.proxy.wire import apart
from traces.proxy.wire.recorder import Exchange

pytestmark = pytest.mark.gateway

JSON = {"content-type": "application/json"}


def asking(text: str = "hi", size: int = 0) -> bytes:
    content = text + "".join(f" {number}" for number in range(size // 8))
    return json.dumps({"model": "m", "stream": True, "input": [{"role": "user", "content": content}]}).encode()


@pytest.fixture(scope="module")
def service():
    with scripted_responses([Step(items=[say("Hello.")])]) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(service, tmp_path_factory):
    with running_gateway(tmp_path_factory.mktemp("gateway"), {"scripted": service.url.removesuffix("/v1")}) as gateway:
        yield gateway


def ask(gateway, text="hi", size=0, session="thread-1"):
    return gateway.ask("/scripted/v1/responses", asking(text, size), headers={**JSON, "session-id": session})[0]


def test_killed_gateway_returns_and_says_that_it_was_away(service, tmp_path):
    with running_gateway(tmp_path, {"scripted": service.url.removesuffix("/v1")}) as gateway:
        assert ask(gateway) == 200
        gateway.wait_for_rows(1)
        old = gateway.pid
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: (health := gateway.health()) and health["pid"] != old, "the gateway's return")
        assert ask(gateway) == 200
        assert len(gateway.wait_for_rows(2)) == 2
        [gap] = gateway.rows("SELECT * FROM gap")
        assert gap["t_from"] <= gap["t_to"]
        assert "suddenly" in gap["reason"]


def test_killed_command_leaves_nothing_running(service, tmp_path):
    with running_gateway(tmp_path, {}) as gateway:
        family = descendants(gateway.process.pid)
        assert family
        gateway.process.send_signal(signal.SIGKILL)
        wait_for(lambda: not any(is_alive(pid) for pid in family), "the end of the gateway", 15)


def test_full_disk_breaks_no_client(gateway):
    [recorder] = descendants(gateway.pid)
    assert ask(gateway, "before", session="full") == 200
    gateway.wait_for_session("full")
    _, hard = resource.prlimit(recorder, resource.RLIMIT_FSIZE)
    resource.prlimit(recorder, resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        for number in range(12):
            assert ask(gateway, f"while full {number}", 100_000, session="full") == 200
        wait_for(lambda: gateway.health()["trouble"], "the trouble with the disk")
        assert ask(gateway, "still served", session="full") == 200
    finally:
        resource.prlimit(recorder, resource.RLIMIT_FSIZE, (hard, hard))
    rows = gateway.wait_for_session("full", 14)
    wait_for(lambda: gateway.health()["trouble"] == "", "the trouble's end")
    assert "still served" in json.dumps(gateway.messages(rows[-1]))


def test_locked_database_breaks_no_client(gateway):
    lock = sqlite3.connect(gateway.database, isolation_level=None, timeout=20)
    lock.execute("BEGIN IMMEDIATE")
    assert [ask(gateway, session="locked") for _ in range(3)] == [200] * 3
    wait_for(lambda: gateway.health()["trouble"], "the trouble with the lock")
    assert ask(gateway, session="locked") == 200
    lock.execute("ROLLBACK")
    lock.close()
    assert len(gateway.wait_for_session("locked", 4)) == 4


def test_removed_and_damaged_databases_are_begun_anew(gateway):
    ask(gateway, "first", session="removed")
    gateway.wait_for_session("removed")
    for path in gateway.database.parent.glob("proxy.sqlite3*"):
        path.unlink()
    assert ask(gateway, "second", session="second") == 200
    assert "second" in json.dumps(gateway.messages(gateway.wait_for_session("second")[0]))
    for path in gateway.database.parent.glob("proxy.sqlite3*"):
        path.unlink()
    gateway.database.write_bytes(b"this is no database, " * 1000)
    assert ask(gateway, "third", session="third") == 200
    wait_for(lambda: list(gateway.database.parent.glob("*.broken-*")), "the damaged file's move")
    assert "third" in json.dumps(gateway.messages(gateway.wait_for_session("third")[0]))


def test_client_that_hangs_up_leaves_what_came(gateway):
    gone = threading.Event()

    def answer(exchange):
        exchange.start_stream()
        exchange.send_piece(b'data: {"type":"response.created","response":{"id":"r9"}}\n\n')
        gone.wait(20)
        with contextlib.suppress(OSError):
            while True:
                exchange.send_piece(b'data: {"type":"x"}\n\n')

    with upstream(answer) as service:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
        connection.request("POST", f"{service.url}/responses", asking(), {**JSON, "session-id": "hung-up"})
        response = connection.getresponse()
        assert response.read1(100)
        response.close()
        connection.close()
        gone.set()
        [row] = gateway.wait_for_session("hung-up")
        assert row["error"]
        assert "r9" in text_of(row)


def test_a_stream_of_50_mb_leaves_memory_flat(gateway):
    with scripted_responses([Step(items=[say("Done.")], pad_bytes=50_000_000)]) as service:
        pid = gateway.pid
        before = peak_mb(pid)
        status, body = gateway.ask(f"{service.url}/responses", asking(), headers={**JSON, "session-id": "big"})
        [row] = gateway.wait_for_session("big", 1, 60)
        assert status == 200
        assert len(body) == row["response_bytes"] > 50_000_000
        assert (row["truncated"], row["tokens_input"]) == (1, 1000)
        assert peak_mb(pid) - before < 100


def peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def test_eight_clients_at_once_lose_nothing(gateway):
    statuses: list[int] = []

    def client(number: int) -> None:
        statuses.extend(ask(gateway, f"client {number} request {count}", session="eight") for count in range(10))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 80
    rows = gateway.wait_for_session("eight", 80)
    assert len({row["id"] for row in rows}) == 80
    assert len({message["content"] for row in rows for message in gateway.messages(row)}) == 80


def test_killed_recorder_breaks_no_client_and_is_replaced(service, tmp_path):
    with running_gateway(tmp_path, {"scripted": service.url.removesuffix("/v1")}) as gateway:
        pid = gateway.pid
        [recorder] = descendants(pid)
        os.kill(recorder, signal.SIGKILL)
        # The first may still be on its way to the one that was killed.
        assert [ask(gateway, f"request {number}", session="after") for number in range(4)] == [200] * 4
        assert len(gateway.wait_for_session("after", 3)) >= 3
        assert gateway.pid == pid


def test_what_a_stopped_recorder_has_no_room_for_becomes_a_gap(tmp_path, monkeypatch):
    monkeypatch.setattr(apart, "MOST_PENDING_BYTES", 300_000)
    recorder = apart.RecorderApart(tmp_path / "proxy.sqlite3", name="test")
    os.kill(recorder._pid, signal.SIGSTOP)
    for number in range(40):
        body = json.dumps({"model": "m", "input": [f"{number} " * 10_000]}).encode()
        recorder.record(Exchange(door="reverse", method="POST", url="http://x", t_start=time.time(), request=body))
    os.kill(recorder._pid, signal.SIGCONT)
    wait_for(lambda: not recorder._queue, "the sending of what waited")
    recorder.record(Exchange(door="reverse", method="POST", url="http://x", t_start=time.time()))
    recorder.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "proxy.sqlite3")) as db:
        [kept] = db.execute("SELECT count(*) FROM exchange").fetchone()
        lost = [count for (count,) in db.execute("SELECT count FROM gap")]
    assert lost
    assert kept + sum(lost) == 41
