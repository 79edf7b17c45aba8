"""Finding and removing sandboxes from elsewhere: the sweep's view."""

import json
import os
import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings

from runs.errors import InfraError
from runs.sandboxes.docker import DockerProvider, engine
from tests.sandboxes.conftest import ALL, USUAL, eventually, is_alive, unique_sleep

# Another process of OneShot, as a worker is one: makes a sandbox, says its id, and runs a command in it.
CREATOR = """
import json, os
import django
django.setup()
from runs.sandboxes.base import Limits, SandboxSpec
from runs.sandboxes.docker import DockerProvider
from runs.sandboxes.local import LocalProvider
kind, image, labels, nap = json.loads(os.environ["ORDER"])
provider = DockerProvider() if kind == "docker" else LocalProvider(kind)
limits = Limits(memory_mb=128, pids=64, disk_mb=100, lifetime_s=300)
sandbox = provider.create(SandboxSpec(image=image, labels=labels, limits=limits))
print(sandbox.id, flush=True)
script = f"setsid sleep {nap} & echo on; sleep {nap}"
sandbox.exec(["sh", "-c", script], sink=lambda name, data: print("on", flush=True))
print("ended", flush=True)
"""


@pytest.mark.parametrize("kind", ALL, indirect=True)
def test_a_sandbox_is_found_by_its_labels(make, provider):
    run = str(uuid.uuid4())
    now = datetime.now(UTC)
    labels = {"oneshot.instance": "i", "oneshot.run": run, "oneshot.try": "2", "oneshot.purpose": "grade"}
    sandbox = make(labels=labels)
    found = provider.list({"oneshot.run": run})
    assert [one.id for one in found] == [sandbox.id]
    assert labels.items() <= found[0].labels.items()
    assert found[0].labels["oneshot.expires"] == str(int(found[0].expires_at.timestamp()))
    assert timedelta(seconds=290) < found[0].expires_at - now < timedelta(seconds=310)
    assert abs(found[0].created_at - now) < timedelta(seconds=10)
    assert provider.list({"oneshot.run": run, "oneshot.try": "1"}) == []
    assert sandbox.id in [one.id for one in provider.list({"oneshot.instance": "i"})]
    provider.destroy(sandbox.id)
    assert provider.list({"oneshot.run": run}) == []
    provider.destroy(sandbox.id)


@pytest.fixture
def creator(kind, provider, request):
    """Start another process that runs a command in a sandbox; give it and the sandbox's id, labels and sleeper."""
    image = request.getfixturevalue("docker_image" if kind == "docker" else "local_image")
    labels, nap = {"oneshot.run": str(uuid.uuid4())}, unique_sleep()
    process = subprocess.Popen(
        [sys.executable, "-c", CREATOR],
        env={**os.environ, "ORDER": json.dumps([kind, image, labels, nap])},
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout
    sandbox_id = process.stdout.readline().strip()
    assert process.stdout.readline() == "on\n"
    assert eventually(lambda: is_alive(nap))
    yield process, sandbox_id, labels, nap
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("kind", USUAL, indirect=True)
def test_a_running_sandbox_of_another_process_is_destroyed(creator, provider):
    process, sandbox_id, labels, nap = creator
    assert [one.id for one in provider.list(labels)] == [sandbox_id]
    provider.destroy(sandbox_id)
    assert not is_alive(nap)
    assert provider.list(labels) == []
    # The command of the other process has ended, without an error.
    assert process.stdout.readline() == "ended\n"


@pytest.mark.faults
@pytest.mark.parametrize("kind", USUAL, indirect=True)
def test_what_a_killed_worker_left_is_found_and_destroyed(creator, provider, kind):
    process, sandbox_id, labels, nap = creator
    process.kill()
    process.wait()
    if kind != "docker":
        # The kernel tells the wrapper, and that ends all before any sweep.
        assert eventually(lambda: not is_alive(nap), within_s=3)
    assert [one.id for one in provider.list(labels)] == [sandbox_id]
    provider.destroy(sandbox_id)
    assert not is_alive(nap)
    assert provider.list(labels) == []


@pytest.mark.parametrize("kind", ["none"], indirect=True)
def test_the_local_sandbox_refuses_an_id_that_is_a_path(provider):
    for wrong in ("../images", "..", "", "a/b", "x" * 24):
        with pytest.raises(InfraError):
            provider.destroy(wrong)


@pytest.mark.parametrize("kind", ["none"], indirect=True)
def test_a_directory_that_was_never_finished_is_found_and_expires(provider):
    directory = Path(settings.DATA_DIR) / "sandboxes" / uuid.uuid4().hex[:24]
    directory.mkdir(parents=True)
    (directory / "meta.json").write_text("{ half")
    found = {one.id: one for one in provider.list({})}[directory.name]
    assert found.expires_at < datetime.now(UTC) + timedelta(hours=1)
    provider.destroy(directory.name)
    assert not directory.exists()


@pytest.mark.docker
def test_containers_of_others_are_never_listed(docker_image):
    client = engine.client()
    other = client.create_container(docker_image, command=["true"], labels={"oneshot.test": "other"})["Id"]
    try:
        assert other not in [one.id for one in DockerProvider().list({})]
        assert DockerProvider().list({"oneshot.test": "other"}) == []
    finally:
        client.remove_container(other)
