"""The relay between a sandbox and a model service, over real sockets."""

import http.client
import json
import resource
import socket
import sqlite3
import threading
import time
from contextlib import closing, contextmanager, suppress
from decimal import Decimal

import pytest

from runs.agents.base import ModelNeed
from runs.errors import AgentError, InfraError
from runs.relay import Holder, Relay, open_door
from tests.servers.responses import Step, http_error, refuse, say, scripted_responses
from tests.servers.upstream import Exchange, upstream
from traces.proxy import database_path
from traces.proxy.wire import doors
from traces.proxy.wire.usage import ModelUse

KEY = "sk-the-real-key-0123456789"


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("TEST_API_KEY", KEY)


@contextmanager
def door_to(url, **need):
    with open_door(ModelNeed(base_url=url, key_env=need.pop("key_env", "TEST_API_KEY"), **need), "127.0.0.1") as relay:
        yield relay


def ask(relay, path="/v1/responses", *, method="POST", body=b"{}", token=None, headers=None):
    """Send one request as an agent would; return (status, headers, body)."""
    connection = http.client.HTTPConnection("127.0.0.1", relay.door.port, timeout=20)
    sent = {"Authorization": f"Bearer {relay.door.token if token is None else token}", **(headers or {})}
    connection.request(method, path, body=body if method == "POST" else None, headers=sent)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, dict(response.getheaders()), data


def raw(relay, text):
    """Send bytes and return all that comes back."""
    with socket.create_connection(("127.0.0.1", relay.door.port), timeout=20) as connection:
        connection.sendall(text.replace("TOKEN", relay.door.token).encode())
        parts = []
        while data := connection.recv(65536):
            parts.append(data)
    return b"".join(parts)


def ok(exchange: Exchange) -> None:
    exchange.reply(200, b'{"id": "r", "usage": {"input_tokens": 30, "output_tokens": 4}}')


def test_the_key_is_added_outside_and_the_token_never_leaves():
    with upstream(ok) as service, door_to(service.url, extra_headers={"X-Tenant": "blue"}) as relay:
        status, headers, body = ask(relay, headers={"X-Tenant": "red", "Cookie": "a=b", "X-Own": "yes"})
        method, path, sent, _ = service.requests[0]
        assert (status, method, path) == (200, "POST", "/v1/responses")
        assert sent["authorization"] == f"Bearer {KEY}"
        assert sent["x-tenant"] == "blue"
        assert sent["x-own"] == "yes"
        assert "cookie" not in sent
        assert relay.door.token not in str(service.requests)
        assert KEY not in str(headers) + body.decode()


def test_a_service_may_take_its_key_in_another_header_or_take_none():
    with upstream(ok) as service:
        with door_to(service.url, header="api-key") as relay:
            ask(relay)
        with door_to(service.url, key_env="") as relay:
            ask(relay)
        assert service.requests[0][2]["api-key"] == KEY
        assert "authorization" not in service.requests[0][2]
        assert "authorization" not in service.requests[1][2]


@pytest.mark.parametrize("token", ["", "wrong", "Bearer"])
def test_without_the_token_nothing_is_forwarded(token):
    with upstream(ok) as service, door_to(service.url) as relay:
        assert ask(relay, token=token)[0] == 401
        assert service.requests == []
        assert relay.usage.requests == 0


@pytest.mark.parametrize(
    "target",
    [
        "/v1/../admin",
        "/v1/./responses",
        "/v1/%2e%2e/admin",
        "/v1/..%2fadmin",
        "/v1\\..\\admin",
        "/v1x/responses",
        "/admin",
        "/",
        "//evil.example/v1/responses",
        "http://evil.example/v1/responses",
        "evil.example:443",
    ],
)
def test_no_path_leaves_the_base_url(target):
    with upstream(ok) as service, door_to(service.url) as relay:
        answer = raw(relay, f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer TOKEN\r\n\r\n")
        assert answer.split(b" ")[1] in (b"403", b"400")
        assert service.requests == []


@pytest.mark.parametrize("method", ["CONNECT", "PUT", "DELETE", "OPTIONS"])
def test_only_get_and_post_are_served(method):
    with upstream(ok) as service, door_to(service.url) as relay:
        answer = raw(relay, f"{method} /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer TOKEN\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 501")
        assert service.requests == []


def test_paths_and_queries_are_joined_to_the_base_url():
    with upstream(ok) as service, door_to(service.url + "/deep?api-version=7") as relay:
        ask(relay, "/v1/models?limit=2", method="GET")
        assert service.requests[0][1] == "/v1/deep/models?api-version=7&limit=2"


def test_a_websocket_is_answered_with_426_so_that_clients_fall_back_at_once():
    with upstream(ok) as service, door_to(service.url) as relay:
        status, _, _ = ask(relay, method="GET", headers={"Upgrade": "websocket", "Connection": "Upgrade"})
        assert status == 426
        assert service.requests == []


def test_a_redirect_is_not_followed():
    def redirect(exchange):
        exchange.reply(307, b"", Location="http://evil.example/v1/responses")

    with upstream(redirect) as service, door_to(service.url) as relay:
        status, headers, body = ask(relay)
        assert status == 502
        assert "evil" not in str(headers) + body.decode()
        assert len(service.requests) == 1


def test_every_event_arrives_when_it_is_sent():
    sent, go_on = [], threading.Event()

    def stream(exchange):
        exchange.start_stream()
        for number in range(3):
            sent.append(number)
            exchange.send_piece(b'data: {"n": %d}\n\n' % number)
            go_on.wait(10)
            go_on.clear()
        exchange.send_piece(b"")

    with upstream(stream) as service, door_to(service.url) as relay:
        connection = http.client.HTTPConnection("127.0.0.1", relay.door.port, timeout=10)
        connection.request("POST", "/v1/responses", b"{}", {"Authorization": f"Bearer {relay.door.token}"})
        response = connection.getresponse()
        for number in range(3):
            # The service sends the next event only after this one has been read here.
            assert json.loads(response.readline().removeprefix(b"data: ")) == {"n": number}
            response.readline()
            assert sent == list(range(number + 1))
            go_on.set()
        assert response.read() == b""


def test_a_stream_of_50_mb_keeps_memory_flat_and_its_usage_is_read():
    with (
        scripted_responses([Step(items=[say("done")], pad_bytes=50_000_000)]) as service,
        door_to(service.url) as relay,
    ):
        ask(relay, body=b'{"stream": true}')  # once, so that later growth is the stream's own
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        connection = http.client.HTTPConnection("127.0.0.1", relay.door.port, timeout=20)
        connection.request("POST", "/v1/responses", b"{}", {"Authorization": f"Bearer {relay.door.token}"})
        response = connection.getresponse()
        total = sum(len(piece) for piece in iter(lambda: response.read1(65536), b""))
        assert total > 50_000_000
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000
        connection.close()
        assert (relay.usage.input, relay.usage.cached, relay.usage.output) == (2000, 400, 100)


def settled(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        threading.Event().wait(0.01)


def test_usage_is_counted_from_streams_and_documents_of_both_apis():
    chat = {"choices": [{"message": {"content": "hi"}}], "usage": {"prompt_tokens": 10, "completion_tokens": 5}}
    chat["usage"]["prompt_tokens_details"] = {"cached_tokens": 4}

    def answer(exchange):
        if exchange.path.endswith("/chat/completions"):
            if b"stream" in service.requests[-1][3]:
                exchange.start_stream()
                exchange.send_piece(b'data: {"choices": [{"delta": {"content": "hi", "refusal": null}}]}\n\n')
                # Pieces may end anywhere, also within an event.
                final = b"data: " + json.dumps({"choices": [], "usage": chat["usage"]}).encode() + b"\n\n"
                exchange.send_piece(final[:30])
                exchange.send_piece(final[30:] + b"data: [DONE]\n\n")
                exchange.send_piece(b"")
            else:
                exchange.reply(200, json.dumps(chat).encode())
        elif exchange.path.endswith("/models"):
            exchange.reply(200, b'{"data": [], "usage": {"input_tokens": 9, "output_tokens": 9}}')
        else:
            ok(exchange)

    with upstream(answer) as service, door_to(service.url) as relay:
        ask(relay, "/v1/chat/completions")
        ask(relay, "/v1/chat/completions", body=b'{"stream": true}')
        ask(relay, "/v1/responses")
        ask(relay, "/v1/models", method="GET")
        use = relay.usage
        assert (use.input, use.cached, use.output) == (10 + 10 + 30, 8, 5 + 5 + 4)
        assert use.complete
        assert use.requests == 4


def test_usage_that_is_not_said_stays_unknown():
    def silent(exchange):
        exchange.reply(200, b'{"usage": {"input_tokens": -3, "output_tokens": "many"}}')

    with upstream(silent) as service, door_to(service.url) as relay:
        ask(relay)
        assert (relay.usage.input, relay.usage.cached, relay.usage.output) == (None, None, None)
        assert not relay.usage.complete


def failure_after(steps):
    with scripted_responses(steps) as service, door_to(service.url) as relay:
        with suppress(http.client.HTTPException, OSError):
            ask(relay)
        settled(lambda: relay.usage.failures or relay.usage.answers)
        return relay.usage


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (http_error(401, "Incorrect API key provided", "invalid_api_key"), "set-up"),
        (http_error(404, "The model does not exist", "model_not_found"), "set-up"),
        (http_error(400, "Unsupported parameter: reasoning.effort", "unsupported_parameter"), "set-up"),
        (http_error(429, "You exceeded your current quota", "insufficient_quota"), "set-up"),
        (http_error(400, "Your input exceeds the context window", "context_length_exceeded"), "request"),
        (http_error(503, "overloaded"), "outage"),
        (http_error(400, "The response was filtered", "content_filter"), "refused"),
        (Step(error={"code": "server_error", "message": "oh"}), "outage"),
        (Step(error={"code": "invalid_prompt", "message": "Flagged: it violates our usage policy."}), "refused"),
        (Step(error={"code": "invalid_prompt", "message": "Your JSON is odd."}), "request"),
        (Step(items=[say("half")], incomplete="content_filter"), "refused"),
        (Step(items=[say("half")], incomplete="max_output_tokens"), "request"),
        (Step(items=[say("half")], drops=True), "outage"),
    ],
)
def test_what_failed_and_whose_fault_it_is_stays_known(step, kind):
    use = failure_after([step])
    assert use.last_failure is not None
    assert use.last_failure.kind == kind


def test_a_refusal_by_the_model_is_noted_and_forgotten_when_it_goes_on():
    use = failure_after([Step(items=[refuse("I will not do that.")])])
    assert use.last_refused
    assert use.last_failure is None
    assert not failure_after([Step(items=[say("I refuse to give up.")])]).last_refused


def test_a_service_that_cannot_be_reached_is_an_outage():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with door_to(f"http://127.0.0.1:{unused.getsockname()[1]}/v1") as relay:
            status, _, body = ask(relay)
            assert status == 502
            assert json.loads(body)["error"]["code"] == "service_unreachable"
            assert relay.usage.last_failure is not None
            assert relay.usage.last_failure.kind == "outage"


def test_a_rate_limit_is_waited_for_here_since_agents_give_up_on_it():
    def limited(exchange):
        if len(service.requests) < 3:
            exchange.reply(429, b'{"error": {"code": "rate_limit_exceeded"}}', Retry_After="0.01")
        else:
            ok(exchange)

    with upstream(limited) as service, door_to(service.url) as relay:
        assert ask(relay)[0] == 200
        assert len(service.requests) == 3
        assert relay.usage.last_failure is None


def test_an_error_that_repeats_the_key_is_passed_on_without_it():
    def leaky(exchange):
        echo = exchange.headers["Authorization"]
        exchange.reply(401, json.dumps({"error": {"message": f"bad key {echo}"}}).encode(), X_Echo=echo)

    with upstream(leaky) as service, door_to(service.url) as relay:
        status, headers, body = ask(relay)
        assert status == 401
        assert KEY not in body.decode() + str(headers)
        assert b"[key]" in body
        assert KEY not in str(relay.usage.last_failure)


def test_requests_are_refused_once_the_budget_is_spent():
    with upstream(ok) as service, door_to(service.url, token_budget=60) as relay:
        assert [ask(relay)[0] for _ in range(3)] == [200, 200, 400]
        assert len(service.requests) == 2
        assert relay.usage.last_failure is not None
        assert relay.usage.last_failure.kind == "budget"


def test_chunked_requests_arrive_whole_and_doubtful_framing_is_refused():
    head = "POST /v1/responses HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer TOKEN\r\nTransfer-Encoding: chunked\r\n"
    with upstream(ok) as service, door_to(service.url) as relay:
        assert b" 200 " in raw(relay, head + "\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").split(b"\r\n")[0]
        assert service.requests[0][3] == b"abcde"
        assert b" 400 " in raw(relay, head + "Content-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n").split(b"\r\n")[0]
        assert b" 400 " in raw(relay, head + "\r\n-3\r\nabc\r\n0\r\n\r\n").split(b"\r\n")[0]
        assert b" 413 " in raw(relay, head + "\r\nfffffffff\r\n").split(b"\r\n")[0]
        assert len(service.requests) == 1


def test_it_ends_with_the_run_also_in_the_middle_of_an_answer():
    with scripted_responses([Step(hangs=True)]) as service:
        with door_to(service.url) as relay:
            connection = http.client.HTTPConnection("127.0.0.1", relay.door.port, timeout=10)
            connection.request("POST", "/v1/responses", b"{}", {"Authorization": f"Bearer {relay.door.token}"})
            settled(lambda: service.requests)
            started = time.monotonic()
        assert time.monotonic() - started < 2
        with pytest.raises((http.client.HTTPException, OSError)):
            connection.getresponse().read()
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", relay.door.port), timeout=1)


def test_a_missing_key_names_the_variable_and_the_mend(monkeypatch):
    monkeypatch.delenv("TEST_API_KEY")
    with pytest.raises(AgentError, match="TEST_API_KEY, which is not set here"), door_to("http://127.0.0.1:9/v1"):
        pass


@pytest.mark.parametrize("name", ["DATABASE_URL", "ONESHOT_SECRET_KEY", "PATH", "HOME"])
def test_a_configuration_cannot_have_other_variables_sent_away(name):
    with pytest.raises(AgentError, match="cannot name a model key"), door_to("http://127.0.0.1:9/v1", key_env=name):
        pass


@pytest.mark.parametrize("url", ["ftp://x/v1", "http://", "https://user:pw@x/v1", "http://x:99999/v1", "x"])
def test_a_base_url_that_cannot_be_used_is_the_configurations_fault(url):
    with pytest.raises(AgentError), door_to(url):
        pass


def test_it_listens_on_the_given_address_only():
    with upstream(ok) as service, door_to(service.url) as relay, pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", relay.door.port), timeout=1)
    with pytest.raises(InfraError, match="cannot listen"), open_door(ModelNeed(base_url="http://x/v1"), "192.0.2.1"):
        pass


def test_a_use_without_answers_claims_nothing():
    assert not ModelUse().complete
    assert ModelUse().spent == 0


def exchanges():
    with closing(sqlite3.connect(database_path())) as db:
        return db.execute(
            "SELECT run, method, url, status, model, tokens_input, error, truncated FROM exchange"
        ).fetchall()


def test_what_passes_is_recorded_for_its_run_and_what_fails_too():
    def answer(exchange):
        if len(service.requests) == 1:
            exchange.reply(200, b'{"id": "r", "model": "m-1", "usage": {"input_tokens": 30, "output_tokens": 4}}')
        else:
            exchange.reply(500, b'{"error": {"message": "boom"}}')

    with upstream(answer) as service:
        need = ModelNeed(base_url=service.url, key_env="TEST_API_KEY")
        with open_door(need, "127.0.0.1", holder=Holder(run="run-1", attempt=2)) as relay:
            ask(relay, "/v1/responses?secret=1", body=b'{"model": "asked"}')
            ask(relay, body=b'{"model": "asked"}')
            ask(relay, "/v1/models", method="GET")
    url = f"{service.url}/responses"
    mine = [row for row in exchanges() if row[0] == "run-1"]
    assert mine == [
        ("run-1", "POST", url, 200, "m-1", 30, "", 0),
        ("run-1", "POST", url, 500, "asked", None, "status 500: boom", 0),
    ]
    assert relay.account.spent.requests == 1
    assert relay.account.lost == 0


def test_a_service_that_is_not_reached_leaves_an_exchange_without_a_status():
    with open_door(ModelNeed(base_url="http://127.0.0.1:1/v1"), "127.0.0.1", holder=Holder(run="run-2")) as relay:
        ask(relay)
    [row] = [row for row in exchanges() if row[0] == "run-2"]
    assert row[3] is None
    assert "service_unreachable" in row[6]


@pytest.mark.parametrize("harm", ["directory", "another's"])
def test_a_database_that_cannot_be_written_stops_nobody_keeps_the_budget_and_is_counted(settings, tmp_path, harm):
    settings.DATA_DIR = tmp_path
    path = database_path()
    path.parent.mkdir()
    if harm == "directory":
        path.mkdir()
    else:
        with closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE theirs(x)")
    with upstream(ok) as service:
        need = ModelNeed(base_url=service.url, key_env="TEST_API_KEY", token_budget=60)
        relay = Relay(need, "127.0.0.1", holder=Holder(run="r"))
        assert [ask(relay)[0] for _ in range(3)] == [200, 200, 400]
        relay.close(wait_s=0.5)
    assert (relay.account.spent.input, relay.account.spent.refused) == (60, 1)
    assert relay.account.lost == 2
    assert relay.account.trouble


def test_a_budget_in_dollars_needs_the_price_of_the_model_that_answers():
    def answer(exchange):
        exchange.reply(200, b'{"model": "other", "usage": {"input_tokens": 10, "output_tokens": 1}}')

    prices = {"known": {"input": "1", "output": "1"}}
    with upstream(answer) as service:
        need = ModelNeed(base_url=service.url, key_env="TEST_API_KEY", cost_budget_usd=Decimal(5))
        with open_door(need, "127.0.0.1", holder=Holder(run="run-3", prices=prices)) as relay:
            assert [ask(relay)[0] for _ in range(2)] == [200, 400]
    assert relay.account.spent.unknown_cost == 1
    assert relay.usage.last_failure.kind == "budget"


def test_a_door_is_closed_with_its_run_and_its_token_is_kept_nowhere():
    with open_door(ModelNeed(base_url="http://127.0.0.1:1/v1"), "127.0.0.1", holder=Holder(run="run-4")) as relay:
        assert doors.find(database_path(), relay.door.token)
    assert doors.find(database_path(), relay.door.token) is None
    with closing(sqlite3.connect(database_path())) as db:
        assert relay.door.token not in "".join(db.iterdump())
