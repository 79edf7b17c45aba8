"""Runs an agent in a real sandbox whose only way out is the relay, as a worker does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runs import sandboxes
from runs.agents.base import Assignment, Ending
from runs.relay import Holder, open_door
from runs.sandboxes.base import Limits, SandboxSpec
from runs.sandboxes.local import LocalProvider
from tests.agents.prepared import docker_image, local_image

DOCKER = pytest.param("docker", marks=pytest.mark.docker)
Look = Callable[[str], str]


def provider_named(name: str) -> Any:
    """Return a provider; "none" is the local sandbox where nothing isolates it, so that no path is remapped."""
    provider = LocalProvider("none") if name == "none" else sandboxes.get(name)
    if problem := provider.available():
        pytest.skip(problem)
    return provider


def image_for(provider: Any, directory: Any) -> str:
    return docker_image() if provider.name == "docker" else local_image(directory / "image")


def attempt(
    provider: Any, image: str, agent: Any, held: list[Any], *, timeout_s: float, memory_mb: int = 1024
) -> tuple[Ending, str, Look]:
    """Return (ending, diff, look): `look` runs a command in the sandbox, which the caller destroys (`held`)."""
    listen, host = provider.door_host()
    with open_door(agent.model(), listen, holder=Holder(run="agents-test")) as door:
        labels = {
            "oneshot.instance": sandboxes.instance(),
            "oneshot.run": "agents-test",
            "oneshot.try": "1",
            "oneshot.purpose": "run",
        }
        spec = SandboxSpec(
            image=image,
            labels=labels,
            limits=Limits(memory_mb=memory_mb, lifetime_s=120),
            network="model-only",
            mounts=agent.mounts(),
            door=door.door,
        )
        sandbox = provider.create(spec)
        held.append(sandbox)
        assignment = Assignment(
            instructions="Mend add.",
            reference_diff=b"",
            timeout_s=timeout_s,
            model_url=door.url(host),
            model_token=door.door.token,
            model_use=door.usage,
        )
        ending = agent.run(sandbox, assignment, lambda source, text: None)

    def look(command: str) -> str:
        return sandbox.exec(["sh", "-c", command], timeout_s=30).stdout.decode()

    return ending, look("git -c safe.directory=* diff"), look
