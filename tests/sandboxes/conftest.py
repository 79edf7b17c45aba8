"""Sandboxes to try: every kind that can be made here, each from an image with almost nothing in it."""

import io
import os
import tarfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings

from runs import sandboxes
from runs.errors import InfraError
from runs.sandboxes.base import Limits, Sandbox, SandboxSpec
from runs.sandboxes.docker import DockerProvider, engine
from runs.sandboxes.local import LocalProvider

DOCKERFILE = b"""FROM debian:bookworm-slim
LABEL oneshot.test=sandboxes
RUN useradd --uid 10001 --create-home --shell /bin/bash agent \\
 && mkdir -p /work /opt/oneshot/base.git && chown agent:agent /work
ENV FROM_IMAGE=yes
WORKDIR /work
"""
TAG = "oneshot-test-sandboxes:1"
LIMITS = Limits(memory_mb=256, cpus=1.0, pids=64, disk_mb=100, lifetime_s=300)

LOCAL = ("bubblewrap", "unshare", "none")
# "docker-far": as if the engine ran elsewhere, so that nothing of the container can be seen on this machine.
DOCKER = (
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("docker-far", marks=pytest.mark.docker),
)
ALL = (*LOCAL, DOCKER[0])
# Also for what is done in another way when the engine is elsewhere
ALL_AND_FAR = (*LOCAL, *DOCKER)
WALLED = ("bubblewrap", "unshare", DOCKER[0])
WALLED_AND_FAR = ("bubblewrap", "unshare", *DOCKER)
# For what does not depend on how the walls are made
USUAL = ("bubblewrap", "none", DOCKER[0])


@pytest.fixture(scope="session")
def docker_image() -> str:
    """Build the test image and return its id. Left in the engine, where it serves the next session."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(DOCKERFILE)
        archive.addfile(member, io.BytesIO(DOCKERFILE))
    lines = list(
        engine.client().build(fileobj=io.BytesIO(context.getvalue()), custom_context=True, tag=TAG, decode=True)
    )
    assert not any("error" in line for line in lines), lines
    return engine.client().inspect_image(TAG)["Id"]


@pytest.fixture(scope="session")
def local_image() -> str:
    """Make what the local builder would make: a directory of parts."""
    image = Path(settings.DATA_DIR) / "images" / ("a" * 64)
    for part in ("work", "home", "opt/tools", "base.git"):
        (image / part).mkdir(parents=True)
    (image / "work" / "README").write_text("hello\n")
    tool = image / "opt" / "tools" / "greet"
    tool.write_text("#!/bin/sh\necho greetings\n")
    tool.chmod(0o755)
    (image / "image.json").write_text('{"env": {"FROM_IMAGE": "yes"}, "workdir": "/work"}')
    return str(image)


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of sandbox; tests give it by `@pytest.mark.parametrize("kind", …, indirect=True)`."""
    return request.param


@pytest.fixture
def provider(kind: str, monkeypatch: pytest.MonkeyPatch):
    return provider_of(kind, monkeypatch)


_local: dict[str, LocalProvider] = {}


def provider_of(kind: str, monkeypatch: pytest.MonkeyPatch):
    """Return a provider that makes exactly this kind of sandbox, or skip with the reason why it cannot."""
    if kind.startswith("docker"):
        if kind == "docker-far":
            monkeypatch.setattr(engine, "shares_processes", lambda: False)
        return DockerProvider()
    made = _local.setdefault(kind, LocalProvider(kind))
    try:
        made.isolation()
    except InfraError as error:
        pytest.skip(f"{kind} does not work here: {error}")
    return made


Make = Callable[..., Sandbox]


@pytest.fixture
def make(kind: str, provider, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Make sandboxes that are gone after the test, whatever happened to them."""
    image = request.getfixturevalue("docker_image" if kind.startswith("docker") else "local_image")
    made: list[Sandbox] = []

    def new(**options) -> Sandbox:
        labels = {"oneshot.instance": sandboxes.instance(), "oneshot.run": str(uuid.uuid4()), "oneshot.try": "1"}
        options = {"image": image, "labels": labels, "limits": LIMITS, **options}
        made.append(provider.create(SandboxSpec(**options)))
        return made[-1]

    yield new
    for sandbox in made:
        sandbox.destroy()


@pytest.fixture
def sandbox(make: Make) -> Sandbox:
    """A sandbox of this test alone."""
    return make()


_shared: dict[str, Sandbox] = {}


@pytest.fixture(scope="session", autouse=True)
def _end_shared() -> Iterator[None]:
    yield
    for sandbox in _shared.values():
        sandbox.destroy()
    name = f"oneshot-{sandboxes.instance()}-door"
    # Made for "docker-far"; an engine has addresses for about thirty networks.
    if not DockerProvider().available():
        for network in engine.client().networks(names=[name]):
            engine.client().remove_network(network["Id"])


@pytest.fixture
def shared(kind: str, provider, request: pytest.FixtureRequest) -> Sandbox:
    """A sandbox that tests share, in the order in which they come: they use names of their own and break nothing."""
    if kind not in _shared:
        image = request.getfixturevalue("docker_image" if kind.startswith("docker") else "local_image")
        labels = {"oneshot.instance": sandboxes.instance(), "oneshot.run": str(uuid.uuid4())}
        _shared[kind] = provider.create(SandboxSpec(image=image, labels=labels, limits=LIMITS))
    return _shared[kind]


def text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def open_to_all(directory: Path) -> None:
    """Let other users into a directory of pytest's, which keeps them out."""
    for above in (directory, *directory.parents):
        if above.name.startswith(("pytest-", "popen-", "test_")):
            above.chmod(0o755)


def eventually(true: Callable[[], bool], within_s: float = 5.0) -> bool:
    """Return whether the condition comes true in time."""
    until = time.monotonic() + within_s
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def unique_sleep() -> str:
    """Return seconds to sleep for that no other process sleeps for, so that the sleeper can be told among all."""
    return f"9{uuid.uuid4().int % 10**8:08d}.5"


def is_alive(word: str) -> bool:
    """Return whether a process of this machine, in a sandbox or not, has the word among its arguments."""
    wanted = word.encode()
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                if wanted in Path("/proc", name, "cmdline").read_bytes().split(b"\0"):
                    return True
            except OSError:
                continue
    return False
