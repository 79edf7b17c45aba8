"""`oneshot up` brings the gateway, and goes on without it where it cannot be."""

import json
import os
import urllib.request

import pytest

from oneshot.processes import descendants
from tests.installation import Installation, free_port, is_alive, wait_for
from tests.proxy.running import ENV_DIR


def health(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


@pytest.mark.gateway
def test_up_starts_the_gateway_and_ends_it(tmp_path):
    port = free_port()
    installation = Installation(
        tmp_path, ONESHOT_GATEWAY="auto", ONESHOT_GATEWAY_PORT=str(port), ONESHOT_GATEWAY_ENV_DIR=str(ENV_DIR)
    )
    try:
        installation.start(workers=1)
        found = wait_for(lambda: health(port), "the gateway")
        assert found["service"] == "oneshot-gateway"
        findings = json.loads(installation.command("doctor", "--json", check=False).stdout)["findings"]
        assert next(f for f in findings if f["name"] == "Gateway")["state"] == "ok"
        family = descendants(installation.process.pid)
        assert found["pid"] in family
        installation.interrupt()
        wait_for(lambda: not any(is_alive(pid) for pid in family), "the end of all")
    finally:
        installation.close()


def test_up_goes_on_without_a_gateway_that_cannot_be_made(tmp_path):
    # No uv, and an index that nobody serves.
    bare = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if not os.path.exists(f"{p}/uv"))
    installation = Installation(
        tmp_path,
        ONESHOT_GATEWAY="auto",
        ONESHOT_GATEWAY_PORT=str(free_port()),
        ONESHOT_GATEWAY_ENV_DIR="/proc/nowhere",
        PATH=bare,
    )
    try:
        installation.start(workers=1)
        wait_for(lambda: "There is no gateway; the rest goes on" in installation.output(), "word of the gateway")
        assert "/proc" in installation.output()
        assert installation.process.poll() is None
    finally:
        installation.close()
