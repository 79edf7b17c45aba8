"""The real Codex and the real Claude Code through the gateway, against scripted models."""

import ssl
import subprocess

import pytest

from tests.proxy.agents import claude, codex
from tests.proxy.running import running_gateway, text_of
from tests.servers import anthropic, responses
from tests.servers.anthropic import bash, scripted_messages
from tests.servers.responses import scripted_responses, shell
from tests.servers.websocket import scripted_socket

STEPS = [
    responses.Step(items=[shell("echo hi > made.txt")]),
    responses.Step(items=[responses.say("Done.")], input_tokens=1200),
]
MESSAGES = [
    anthropic.Step(items=[bash("echo hi > made.txt")]),
    anthropic.Step(items=[anthropic.say("Done.")]),
]


def turns_of(rows):
    return [row for row in rows if row["status"] in (200, 101) and row["tokens_input"]]


@pytest.mark.gateway
@pytest.mark.codex
class TestCodex:
    def test_reverse_path(self, tmp_path):
        with (
            scripted_responses(STEPS) as service,
            running_gateway(tmp_path / "gateway", {"scripted": service.url.removesuffix("/v1")}) as gateway,
        ):
            provider = f'{{name="s",base_url="{gateway.url}/scripted/v1",wire_api="responses"}}'
            done = codex(tmp_path, "-c", "model_provider=s", "-c", f"model_providers.s={provider}")
            assert done.returncode == 0, done.stdout + done.stderr
            rows = turns_of(gateway.wait_for_rows(2))
            assert (tmp_path / "made.txt").read_text() == "hi\n"
            assert {row["agent"] for row in rows} == {"codex"}
            [thread] = {row["session"] for row in rows}
            assert thread in done.stdout
            assert all(row["turn"] for row in rows)
            assert len(gateway.messages(rows[1])) > len(gateway.messages(rows[0]))

    def test_forward_door(self, tmp_path):
        with (
            scripted_responses(STEPS) as service,
            running_gateway(tmp_path / "gateway", {}) as gateway,
        ):
            provider = f'{{name="s",base_url="{service.url}",wire_api="responses"}}'
            done = codex(
                tmp_path,
                *("-c", "model_provider=s", "-c", f"model_providers.s={provider}"),
                **{"HTTP_PROXY": gateway.url, "HTTPS_PROXY": gateway.url, "NO_PROXY": ""},
            )
            assert done.returncode == 0, done.stdout + done.stderr
            rows = turns_of(gateway.wait_for_rows(2))
            assert {row["door"] for row in rows} == {"forward"}

    def test_web_socket_turns_are_exchanges(self, tmp_path):
        with (
            scripted_socket(STEPS) as service,
            running_gateway(tmp_path / "gateway", {"scripted": service.url}) as gateway,
        ):
            done = codex(
                tmp_path, "-c", f'openai_base_url="{gateway.url}/scripted/v1"', CODEX_API_KEY="sk-canary-ws-0123456789"
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert service.frames
            rows = gateway.wait_for_rows(len(service.frames))
            turns = [row for row in rows if row["method"] == "WS" and row["tokens_input"]]
            assert [row["tokens_input"] for row in turns] == [1000, 1200]
            assert {row["agent"] for row in turns} == {"codex"}
            assert len({row["session"] for row in turns}) == 1
            assert turns[0]["session"] in done.stdout
            assert "Done." in text_of(turns[1])
            assert b"sk-canary-ws" not in gateway.kept_bytes()


def certificate(folder):
    """Make an authority's certificate for localhost; return (certificate, key)."""
    cert, key = folder / "service.pem", folder / "service.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


def wrap(server, cert, key):
    """Let a scripted server speak TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
    return server._server.server_address[1]


@pytest.mark.gateway
@pytest.mark.codex
def test_codex_through_a_tunnel_trusts_the_authority_it_was_told(tmp_path):
    cert, key = certificate(tmp_path)
    service = responses.ScriptedResponses(STEPS, "127.0.0.1")
    port = wrap(service, cert, key)
    service.start()
    try:
        base = f"https://localhost:{port}"
        with running_gateway(tmp_path / "gateway", {"scripted": base}, ONESHOT_EXTRA_CA=str(cert)) as gateway:
            provider = f'{{name="s",base_url="{base}/v1",wire_api="responses"}}'
            done = codex(
                tmp_path,
                *("-c", "model_provider=s", "-c", f"model_providers.s={provider}"),
                **{"HTTPS_PROXY": gateway.url, "NO_PROXY": "", "CODEX_CA_CERTIFICATE": str(gateway.ca)},
            )
            assert done.returncode == 0, done.stdout + done.stderr + gateway.log()
            rows = turns_of(gateway.wait_for_rows(2))
            assert {(row["door"], row["provider"]) for row in rows} == {("forward", "scripted")}
            ca_key = gateway.ca.with_name("mitmproxy-ca.pem")
            assert ca_key.stat().st_mode & 0o077 == 0
    finally:
        service.close()


@pytest.mark.gateway
def test_tunnels_to_other_services_are_not_looked_into(tmp_path):
    cert, key = certificate(tmp_path)
    service = responses.ScriptedResponses(STEPS, "127.0.0.1")
    port = wrap(service, cert, key)
    service.start()
    try:
        with running_gateway(tmp_path / "gateway", {}) as gateway:
            # Trusts the service's own certificate alone: a look inside would break it.
            done = subprocess.run(
                ["curl", "-sS", "--proxy", gateway.url, "--cacert", str(cert), f"https://localhost:{port}/v1/models"],
                capture_output=True,
                text=True,
            )
            assert "scripted-1" in done.stdout, done.stderr
            assert 'host="localhost"' in gateway.ask("/metrics")[1].decode()
            assert gateway.rows() == []
    finally:
        service.close()


@pytest.mark.gateway
@pytest.mark.claude
class TestClaudeCode:
    def test_reverse_path(self, tmp_path):
        with (
            scripted_messages(MESSAGES) as service,
            running_gateway(tmp_path / "gateway", {"scripted": service.url}) as gateway,
        ):
            done = claude(tmp_path, ANTHROPIC_BASE_URL=f"{gateway.url}/scripted")
            assert done.returncode == 0, done.stdout + done.stderr
            rows = turns_of(gateway.wait_for_rows(2))
            assert (tmp_path / "made.txt").read_text() == "hi\n"
            assert {row["agent"] for row in rows} == {"claude_code"}
            [session] = {row["session"] for row in rows}
            assert session in done.stdout
            assert [row["tokens_input"] for row in rows if row["tokens_input"] == 1000] == [1000, 1000]

    def test_forward_door(self, tmp_path):
        with (
            scripted_messages(MESSAGES) as service,
            running_gateway(tmp_path / "gateway", {}) as gateway,
        ):
            done = claude(
                tmp_path,
                **{"ANTHROPIC_BASE_URL": service.url, "HTTP_PROXY": gateway.url, "HTTPS_PROXY": gateway.url},
                **{"NO_PROXY": "", "NODE_EXTRA_CA_CERTS": str(gateway.ca)},
            )
            assert done.returncode == 0, done.stdout + done.stderr
            rows = turns_of(gateway.wait_for_rows(2))
            assert {row["door"] for row in rows} == {"forward"}
            assert (tmp_path / "made.txt").exists()
