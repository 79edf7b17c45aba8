"""The run door: a token instead of a key, and an end to what may be spent."""

import json
import time
from decimal import Decimal

import pytest

from tests.proxy.running import running_gateway, text_of
from tests.servers.responses import Step, say, scripted_responses
from tests.servers.upstream import upstream
from traces.proxy.wire.doors import DoorSpec, close_door, find, open_door, spent_by
from traces.proxy.wire.usage import Tokens

KEY = "sk-real-key-of-the-service-0123456789"
JSON = {"content-type": "application/json"}
PRICES = {"scripted-*": {"input": "2", "cached_input": "1", "cache_write": None, "output": "10"}}


def spec_of(base_url: str, **more) -> DoorSpec:
    fields = {"run": "run-1", "provider": "openai", "base_url": base_url, "key_env": "SCRIPTED_API_KEY"}
    return DoorSpec(**{**fields, "prices": PRICES, "expires_at": time.time() + 600, **more})


def asking(text: str = "hi") -> bytes:
    return json.dumps({"model": "scripted-1", "stream": True, "input": [{"role": "user", "content": text}]}).encode()


@pytest.fixture(scope="module")
def service():
    with scripted_responses([Step(items=[say("Hello.")])]) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with running_gateway(tmp_path_factory.mktemp("gateway"), {}, SCRIPTED_API_KEY=KEY) as gateway:
        yield gateway


def ask(gateway, token, path="/openai/v1/responses", body=None, **headers):
    return gateway.ask(f"/run/{token}{path}", asking() if body is None else body, headers={**JSON, **headers})


@pytest.mark.gateway
class TestServed:
    def test_key_is_added_outside_of_the_sandbox(self, gateway, service):
        token = open_door(gateway.database, spec_of(service.url, run="run-key"))
        before = len(gateway.rows())
        status, body = ask(gateway, token, authorization="Bearer what-the-sandbox-thinks", cookie="a=b")
        row = gateway.wait_for_rows(before + 1)[-1]
        seen = service.requests[-1]["headers"]
        assert status == 200, body
        assert seen["authorization"] == f"Bearer {KEY}"
        assert "cookie" not in seen
        assert (row["door"], row["run"], row["tokens_input"]) == ("run", "run-key", 1000)
        assert "Hello." in text_of(row)
        assert token not in gateway.kept_bytes().decode("utf-8", "replace")

    def test_token_may_stand_where_a_key_does(self, gateway, service):
        token = open_door(gateway.database, spec_of(service.url))
        body = asking()
        for headers in ({"authorization": f"Bearer {token}"}, {"x-api-key": token}):
            assert gateway.ask("/run/openai/v1/responses", body, headers={**JSON, **headers})[0] == 200

    def test_unknown_closed_and_expired_tokens_open_nothing(self, gateway, service):
        closed = open_door(gateway.database, spec_of(service.url))
        close_door(gateway.database, closed)
        expired = open_door(gateway.database, spec_of(service.url, expires_at=time.time() - 1))
        for token in ("x" * 43, closed, expired, "..", "%2e%2e"):
            assert ask(gateway, token)[0] == 401, token

    def test_spent_tokens_are_refused_with_the_answer_that_stops_an_agent(self, gateway, service):
        token = open_door(gateway.database, spec_of(service.url, token_budget=1500))
        answers = [ask(gateway, token) for _ in range(3)]
        assert [status for status, _ in answers] == [200, 200, 400]
        assert json.loads(answers[2][1])["error"]["code"] == "oneshot_token_limit"
        document = json.loads(gateway.ask(f"/run/{token}/metrics")[1])
        assert document["tokens"] == {"input": 2000, "cached": 400, "cache_write": None, "output": 100}
        assert (document["requests"], document["refused"]) == (2, 1)
        assert Decimal(document["cost_usd"]) == 2 * Decimal("0.0023")

    def test_spent_money_is_refused(self, gateway, service):
        token = open_door(gateway.database, spec_of(service.url, cost_budget_usd=Decimal("0.003")))
        assert [ask(gateway, token)[0] for _ in range(3)] == [200, 200, 400]
        assert json.loads(ask(gateway, token)[1])["error"]["code"] == "oneshot_cost_limit"

    def test_budget_in_money_ends_where_a_price_is_unknown(self, gateway, service):
        token = open_door(gateway.database, spec_of(service.url, cost_budget_usd=Decimal(9), prices={}))
        assert [ask(gateway, token)[0] for _ in range(2)] == [200, 400]

    def test_paths_beside_the_service_are_refused(self, gateway, service):
        token = open_door(gateway.database, spec_of(service.url))
        for path in ("/other/v1/responses", "/openai/v2/x", "/openai/v1/../admin", "/openai/v1/%2e%2e/admin", ""):
            assert ask(gateway, token, path)[0] in (401, 403), path

    def test_upgrades_are_sent_back_to_plain_http(self, gateway, service):
        token = open_door(gateway.database, spec_of(service.url))
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "x" * 22 + "=="}
        assert gateway.ask(f"/run/{token}/openai/v1/responses", headers=headers)[0] == 426

    def test_missing_key_is_told(self, gateway, service):
        token = open_door(gateway.database, spec_of(service.url, key_env="NOT_THERE_API_KEY"))
        status, body = ask(gateway, token)
        assert status == 503
        assert b"NOT_THERE_API_KEY" in body

    def test_error_that_repeats_the_key_does_not_show_it(self, gateway):
        def answer(exchange):
            said = exchange.headers["Authorization"]
            exchange.reply(401, json.dumps({"error": {"message": f"bad key {said}"}}).encode())

        with upstream(answer) as service:
            token = open_door(gateway.database, spec_of(service.url))
            for path in ("/openai/v1/responses", "/openai/v1/models"):
                status, body = ask(gateway, token, path)
                assert status == 401
                assert KEY.encode() not in body
                assert b"[key]" in body

    def test_an_open_host_serves_runs_only(self, tmp_path, service):
        import socket

        with running_gateway(tmp_path, {"scripted": service.url}, "--host", "0.0.0.0", SCRIPTED_API_KEY=KEY) as gateway:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect(("192.0.2.1", 9))
                outside = probe.getsockname()[0]
            if outside.startswith("127."):
                pytest.skip("this machine has no other address than loopback")
            gateway_url = gateway.url
            token = open_door(gateway.database, spec_of(service.url))
            status = _ask_at(outside, gateway.port, f"/run/{token}/openai/v1/responses")
            assert status == 200
            assert _ask_at(outside, gateway.port, "/scripted/responses") == 403
            assert _ask_at(outside, gateway.port, f"{service.url}/responses") == 403
            assert gateway_url


def _ask_at(host, port, path):
    import http.client

    connection = http.client.HTTPConnection(host, port, timeout=20)
    connection.request("POST", path, asking(), JSON)
    return connection.getresponse().status


def test_counts_of_several_listeners_add_up(tmp_path):
    path = tmp_path / "proxy.sqlite3"
    token = open_door(path, spec_of("http://x/v1", token_budget=100))
    one, other = find(path, token), find(path, token)
    one.count(Tokens(input=40, cached=10, output=5), "scripted-1")
    other.count(Tokens(input=60, cached=None, output=10), "scripted-1")
    spent = spent_by(path, token)
    assert (spent.input, spent.cached, spent.output, spent.requests) == (100, 10, 15, 2)
    assert find(path, token).refusal()[0] == "oneshot_token_limit"
    close_door(path, token)
    assert find(path, token) is None
    assert spent_by(path, token).requests == 2


def test_counts_survive_a_locked_database(tmp_path):
    import sqlite3

    path = tmp_path / "proxy.sqlite3"
    token = open_door(path, spec_of("http://x/v1", token_budget=100))
    door = find(path, token)
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    door.count(Tokens(input=90, cached=0, output=20), "scripted-1")
    assert find(path, token).refusal() is not None
    lock.execute("ROLLBACK")
    lock.close()
    find(path, token).count(None, "")
    assert spent_by(path, token).unknown_usage == 1
    assert sqlite3.connect(path).execute("SELECT tokens_input FROM door").fetchone() == (90,)
