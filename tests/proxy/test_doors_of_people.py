"""The forward door and the reverse paths: what passes is what the service said, and it is recorded once."""

import gzip
import http.client
import json
import subprocess
import sys
import threading
import time

import pytest

from tests.installation import wait_for
from tests.proxy.running import running_gateway, text_of
from tests.servers.anthropic import Step as Message
from tests.servers.anthropic import say as say_text
from tests.servers.anthropic import scripted_messages
from tests.servers.responses import Step, say, scripted_responses
from tests.servers.upstream import upstream
from traces.proxy.wire.schema import installation_of

pytestmark = pytest.mark.gateway

JSON = {"content-type": "application/json"}


def asking(text: str, **more) -> bytes:
    message = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
    return json.dumps({"model": "scripted-1", "stream": True, "input": [message], **more}).encode()


@pytest.fixture(scope="module")
def service():
    with scripted_responses([Step(items=[say("Hello.")], pad_bytes=20_000)]) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(service, tmp_path_factory):
    with running_gateway(tmp_path_factory.mktemp("gateway"), {"scripted": service.url.removesuffix("/v1")}) as gateway:
        yield gateway


def newest(gateway, count):
    return gateway.wait_for_rows(count)[-1]


def test_reverse_path_passes_a_stream_and_records_it(gateway, service):
    before = len(gateway.rows())
    status, body = gateway.ask(
        "/scripted/v1/responses", asking("hi"), headers={**JSON, "session-id": "thread-1", "authorization": "Bearer x1"}
    )
    row = newest(gateway, before + 1)
    assert status == 200
    assert b"response.completed" in body
    assert body.count(b"\n\n") == row["events"]
    assert (row["door"], row["provider"], row["session"], row["status"]) == ("reverse", "scripted", "thread-1", 200)
    assert (row["tokens_input"], row["tokens_cached"], row["tokens_output"]) == (1000, 200, 50)
    assert row["url"] == f"{service.url}/responses"
    assert row["response_bytes"] == len(body)
    assert gateway.messages(row)[0]["content"][0]["text"] == "hi"
    assert "Hello." in text_of(row)
    assert service.requests[-1]["headers"]["authorization"] == "Bearer x1"


def test_runs_of_deltas_are_kept_as_one_event(gateway):
    before = len(gateway.rows())
    gateway.ask("/scripted/v1/responses", asking("deltas"), headers=JSON)
    text = text_of(newest(gateway, before + 1))
    assert text.count("output_text.delta\n") <= 1
    assert "x" * 16384 in text


def test_forward_door_records_model_requests(gateway, service):
    before = len(gateway.rows())
    status, _ = gateway.ask(f"{service.url}/responses", asking("forward"), headers=JSON)
    row = newest(gateway, before + 1)
    assert status == 200
    assert row["door"] == "forward"
    assert row["tokens_output"] == 50


def test_other_requests_pass_unrecorded(gateway, service):
    before = len(gateway.rows())
    assert gateway.ask(f"{service.url}/models")[0] == 200
    assert gateway.ask(f"{service.url}/messages", b'{"text": "a chat"}', headers=JSON)[0] == 404
    assert gateway.ask(f"{service.url}/responses", asking("after"), headers=JSON)[0] == 200
    assert "after" in json.dumps(gateway.messages(newest(gateway, before + 1)))
    assert len(gateway.rows()) == before + 1


def test_history_is_stored_once(gateway):
    history = [{"role": "user", "content": f"message {number}"} for number in range(20)]
    before, stored = len(gateway.rows()), len(gateway.rows("SELECT hash FROM message"))
    for _ in range(3):
        gateway.ask("/scripted/v1/responses", json.dumps({"model": "m", "input": history}).encode(), headers=JSON)
    rows = gateway.wait_for_rows(before + 3)[-3:]
    assert len({row["request_messages"] for row in rows}) == 1
    assert len(gateway.rows("SELECT hash FROM message")) == stored + 20


def test_packed_bodies_are_read_both_ways(gateway):
    answer = json.dumps({"id": "r1", "model": "m", "usage": {"input_tokens": 7, "output_tokens": 3}}).encode()
    with upstream(lambda exchange: exchange.reply(200, gzip.compress(answer), Content_Encoding="gzip")) as service:
        packed = gzip.compress(asking("packed"))
        headers = {**JSON, "content-encoding": "gzip", "session-id": "packed"}
        status, body = gateway.ask(f"{service.url}/responses", packed, headers=headers)
        [row] = gateway.wait_for_session("packed")
        assert status == 200
        assert gzip.decompress(body) == answer
        assert service.requests[0][3] == packed
        assert (row["tokens_input"], row["tokens_output"], row["response_id"]) == (7, 3, "r1")
        assert row["request_bytes"] == len(asking("packed"))
        assert row["request_wire_bytes"] == len(packed)
        assert json.loads(text_of(row)) == json.loads(answer)


def test_anthropic_usage_is_counted_alike(gateway):
    step = Message(items=[say_text("Good day. " * 50)], cached_tokens=200, cache_write_tokens=30)
    with scripted_messages([step]) as service:
        body = {"model": "claude-x", "stream": True, "tools": [{"name": "Bash"}], "messages": [], "max_tokens": 5}
        headers = {**JSON, "x-claude-code-session-id": "claude-1"}
        gateway.ask(f"{service.url}/v1/messages?beta=true", json.dumps(body).encode(), headers=headers)
        [row] = gateway.wait_for_session("claude-1")
        assert (row["tokens_input"], row["tokens_cached"], row["tokens_cache_write"]) == (1030, 200, 30)
        assert (row["tokens_output"], row["stop_reason"], row["model"]) == (50, "end_turn", "claude-x")
        assert text_of(row).count("text_delta") == 1
        assert "Good day. " * 50 in text_of(row)


def test_each_piece_arrives_at_once(gateway):
    going_on = threading.Event()

    def answer(exchange):
        exchange.start_stream()
        exchange.send_piece(b'data: {"type":"response.created"}\n\n')
        going_on.wait(20)
        exchange.send_piece(b'data: {"type":"response.completed","response":{"id":"r"}}\n\n')
        exchange.send_piece(b"")

    with upstream(answer) as service:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
        connection.request("POST", f"{service.url}/responses", asking("slow"), JSON)
        response = connection.getresponse()
        assert b"response.created" in response.read1(1000)
        going_on.set()
        assert b"response.completed" in response.read()
        connection.close()


def test_pages_and_rebound_names_are_refused(gateway):
    for headers in (
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": f"evil:{gateway.port}"},
    ):
        status, body = gateway.ask("/scripted/v1/responses", asking("page"), headers={**JSON, **headers})
        assert status == 403, body


def test_health_answers_directly_and_through_the_proxy(gateway):
    for where in ("/health", f"http://localhost:{gateway.port}/health"):
        status, body = gateway.ask(where)
        assert (status, json.loads(body)["service"]) == (200, "oneshot-gateway")
        assert json.loads(body)["installation"] == installation_of(gateway.database)


def test_metrics_count_doors_and_hosts(gateway, service):
    gateway.ask(f"{service.url}/models")
    text = gateway.ask("/metrics")[1].decode()
    assert 'oneshot_gateway_requests_total{door="reverse"}' in text
    assert 'oneshot_gateway_forwarded_total{host="127.0.0.1"}' in text


def test_unreachable_service_is_an_error_and_a_row(gateway):
    headers = {**JSON, "session-id": "gone"}
    assert gateway.ask("http://127.0.0.1:9/v1/responses", asking("x"), headers=headers)[0] == 502
    [row] = gateway.wait_for_session("gone")
    assert row["status"] is None
    assert row["error"]


def test_ctrl_c_ends_all_and_a_second_gateway_says_so(tmp_path):
    with running_gateway(tmp_path, {}) as gateway:
        done = gateway.process
        second = subprocess.run(
            [sys.executable, "-m", "oneshot", "proxy", "--port", str(gateway.port)],
            env=gateway.environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert second.returncode == 2
        assert "already running" in second.stderr
        pid = gateway.pid
        begun = time.monotonic()
        gateway.close()
        assert done.returncode == 0
        assert time.monotonic() - begun < 8
        wait_for(lambda: gateway.health() is None, f"the end of {pid}")
