"""A canary in every place of an exchange that can hold a secret is found in no byte that the gateway writes."""

import base64
import json

import pytest

from tests.proxy.running import running_gateway
from tests.servers.upstream import upstream

pytestmark = pytest.mark.gateway

# None of them looks like a key, so that nothing but knowing it finds it.
BEARER, API_KEY, COOKIE, PASSWORD, GIVEN = (
    f"canaryzq{name}wv" for name in ("bearer", "api", "cookie", "pass", "given")
)


@pytest.mark.parametrize(
    ("authorization", "secret"),
    [
        (f"Bearer {BEARER}", BEARER),
        ("Basic " + base64.b64encode(f"user:{PASSWORD}".encode()).decode(), PASSWORD),
    ],
)
def test_canaries_are_found_nowhere(tmp_path, authorization, secret):
    canaries = [secret, API_KEY, COOKIE, GIVEN]
    everything = " ".join(canaries)

    def answer(exchange):
        exchange.start_stream()
        item = {"type": "message", "content": [{"type": "output_text", "text": f"it is {everything}"}]}
        deltas = [{"type": "response.output_text.delta", "item_id": "1", "delta": letter} for letter in secret]
        for event in (
            *deltas,
            {"type": "response.output_item.done", "item": item},
            {"type": "response.completed", "response": {"id": "r", "usage": {"input_tokens": 1, "output_tokens": 1}}},
        ):
            exchange.send_piece(f"data: {json.dumps(event)}\n\n".encode())
        exchange.send_piece(b"")

    body = {
        "model": f"m-{API_KEY}",
        "instructions": everything,
        "input": [{"role": "user", "content": f'say "{everything}" twice'}, {"role": "tool", "content": [everything]}],
        "metadata": {everything: everything},
    }
    headers = {
        "content-type": "application/json",
        "authorization": authorization,
        "x-api-key": API_KEY,
        "cookie": f"a=1; session={COOKIE}",
        "user-agent": f"client {API_KEY}",
        "x-unknown": everything,
        "x-codex-turn-metadata": json.dumps({"note": GIVEN}),
    }
    with (
        upstream(answer) as service,
        running_gateway(tmp_path, {"echo": service.url}, GIVEN_API_KEY=GIVEN) as gateway,
    ):
        status, said = gateway.ask(f"/echo/responses?key={secret}", json.dumps(body).encode(), headers=headers)
        assert status == 200
        assert GIVEN.encode() in said
        [row] = gateway.wait_for_rows(1)
        kept = gateway.kept_bytes()
        assert [canary for canary in canaries if canary.encode() in kept] == []
        # What the model says piece by piece is not kept piece by piece either.
        assert b'"delta":"c"' not in kept
        assert "[redacted]" in json.dumps(gateway.messages(row))
