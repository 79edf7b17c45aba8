"""Sandboxes as containers of a Docker engine, or of Podman through its Docker-compatible socket."""

from __future__ import annotations

import logging
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from runs.errors import InfraError, TaskError
from runs.sandboxes.base import Limits, SandboxInfo, SandboxSpec
from runs.sandboxes.docker import engine
from runs.sandboxes.docker.host import is_privileged
from runs.sandboxes.docker.sandbox import MB, DockerSandbox, idle_command, remove

logger = logging.getLogger(__name__)

EXPIRES = "oneshot.expires"
INSTANCE = "oneshot.instance"
# How long an answer about the engine or the base image is good for.
FACTS_FOR_S = 30.0
# "auto" must not keep anybody waiting; a pull that says nothing in this time counts as impossible, but goes on.
PULL_ANSWER_S = 0.8
CPU_PERIOD_US = 100_000
# What a package manager run as root needs. Never given to an agent or a grader.
BUILDER_CAPABILITIES = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SYS_CHROOT",
]


class DockerProvider:
    """See runs.sandboxes.base.Provider."""

    name = "docker"

    def __init__(self) -> None:
        self._facts: dict[str, tuple[float, str]] = {}
        # Learned from the engine, or from its first refusal: most file systems cannot bound a container's size, and
        # not every Podman has a program to be the first process.
        self._can_bound_size = True
        self._has_init = True
        # (id, address of this host) of the network for model-only sandboxes, once it is known
        self._door: tuple[str, str] | None = None

    def available(self) -> str:
        return self._fact("engine", self._engine_problem)

    def isolation(self) -> str:
        return "container"

    def base_image_problem(self) -> str:
        """Return why the site's base image cannot be used, or "" when it is here or on its way."""
        return self._fact("base image", self._base_image_problem)

    def create(self, spec: SandboxSpec) -> DockerSandbox:
        expires_at = time.time() + spec.limits.lifetime_s
        network = self._network_of(spec)
        container_id = self._create_container(spec, network, expires_at)
        sandbox = DockerSandbox(container_id, spec, expires_at)
        try:
            with engine.errors("The sandbox's container cannot be started"):
                engine.client().start(container_id)
            sandbox.started()
        except BaseException as error:
            if isinstance(error, engine.Gone):
                # Somebody may have removed the network; the next sandbox makes it anew.
                self._door = None
            sandbox.destroy()
            raise
        return sandbox

    def list(self, labels: Mapping[str, str]) -> list[SandboxInfo]:
        # The label that every sandbox has keeps other people's containers out, whatever is asked for.
        wanted = [EXPIRES, *(f"{name}={value}" for name, value in labels.items())]
        with engine.errors("The sandboxes cannot be listed"):
            containers = engine.client().containers(all=True, filters={"label": wanted})
        return [_info(found) for found in containers]

    def destroy(self, sandbox_id: str) -> None:
        remove(sandbox_id)

    def door_host(self) -> tuple[str, str]:
        if self._opens_doors():
            return "127.0.0.1", "127.0.0.1"
        gateway = self._door_network()[1]
        try:
            with socket.socket() as probe:
                probe.bind((gateway, 0))
        except OSError as error:
            raise InfraError(
                f"A model relay cannot listen on {gateway}, the sandboxes' way out: {error.strerror or error}. "
                "Run OneShot on the machine of the Docker engine, not in a container of it, or as root there."
            ) from None
        return gateway, gateway

    # Creating

    def _create_container(self, spec: SandboxSpec, network: str, expires_at: float) -> str:
        body: dict[str, Any] = {
            "command": [],
            # The idle process is root without rights, so that the agent's user cannot end it; commands are not.
            "user": "0:0",
            "working_dir": "/",
            "hostname": "sandbox",
            "name": _name(spec.labels),
            "environment": dict(spec.env),
            "labels": {**spec.labels, EXPIRES: str(int(expires_at))},
            "stop_signal": "SIGKILL",
            # An image's own check would run commands beside ours.
            "healthcheck": {"test": ["NONE"]},
        }
        idle = idle_command(spec)
        while True:
            bounded, init = self._can_bound_size, self._has_init
            # Without a program for it, a waiting shell takes in orphans as the first process.
            body["entrypoint"] = idle if init else ["sh", "-c", f"{' '.join(idle)} & wait"]
            try:
                with engine.errors("The sandbox's container cannot be made"):
                    client = engine.client()
                    host = client.create_host_config(**_host_options(spec, network, bounded=bounded, init=init))
                    return client.create_container(spec.image, host_config=host, **body)["Id"]
            except engine.Gone as error:
                if "image" not in str(error).lower():
                    raise
                raise TaskError(
                    f"The image {spec.image} is not on the Docker engine any more. Prepare the task again."
                ) from error
            except InfraError as error:
                words = str(error).lower()
                if bounded and ("storage" in words or "quota" in words):
                    self._can_bound_size = False
                elif init and "init binary" in words:
                    self._has_init = False
                else:
                    raise

    def _network_of(self, spec: SandboxSpec) -> str:
        """Return the engine's network for this sandbox."""
        if spec.network == "full":
            return "bridge"
        if spec.network == "none" or spec.door is None or self._opens_doors():
            return "none"
        return self._door_network()[0]

    def _opens_doors(self) -> bool:
        """Whether the door can be opened from the host inside the sandbox's own network, so that it needs no other."""
        return is_privileged() and engine.shares_processes()

    def _door_network(self) -> tuple[str, str]:
        """Return the id and the host's address of the network that leads to the host and nowhere else."""
        from runs.sandboxes import instance

        if not self._door:
            name = f"oneshot-{instance()}-door"
            with engine.errors("The network for model-only sandboxes cannot be made"):
                found = _networks_named(name)
                if not found:
                    engine.client().create_network(
                        name,
                        driver="bridge",
                        internal=True,
                        options={"com.docker.network.bridge.enable_icc": "false"},
                        labels={INSTANCE: instance()},
                    )
                    found = _networks_named(name)
            # Two workers may have made one each at the same moment: all take the older.
            first = min(found, key=lambda network: network["Created"])
            self._door = first["Id"], first["IPAM"]["Config"][0]["Gateway"].partition("/")[0]
        return self._door

    # Facts

    def _fact(self, name: str, find_out) -> str:
        """Return a problem that was found out lately, or find out anew."""
        known = self._facts.get(name)
        if known is None or time.monotonic() - known[0] > FACTS_FOR_S:
            known = time.monotonic(), find_out()
            self._facts[name] = known
        return known[1]

    def _engine_problem(self) -> str:
        if problem := engine.problem():
            return problem
        try:
            with engine.errors("The Docker engine does not answer as it should"):
                info = engine.client().info()
        except InfraError as error:
            return f"{error} Look at the engine's own log (journalctl -u docker)."
        details = dict(row for row in info.get("DriverStatus") or [] if len(row) == 2)
        if info.get("Driver") == "overlay2" and details.get("Backing Filesystem", "xfs") != "xfs":
            self._can_bound_size = False
        return ""

    def _base_image_problem(self) -> str:
        image = settings.BASE_IMAGE
        missing = (
            f"The base image {image} is not here and cannot be pulled. Pull or load it (docker pull {image}), "
            "or set ONESHOT_BASE_IMAGE to an image that is here."
        )
        try:
            with engine.errors("The base image cannot be looked up"):
                if engine.client().images(name=image, quiet=True):
                    return ""
        except InfraError as error:
            return str(error)
        return "" if _pull_begins(image) else missing


def _networks_named(name: str) -> list[dict[str, Any]]:
    # The engine also gives those whose name only begins so.
    return [network for network in engine.client().networks(names=[name]) if network["Name"] == name]


def _pull_begins(image: str) -> bool:
    """Start pulling an image, and return whether the registry has begun to answer in a very short time."""
    begun = threading.Event()
    over = threading.Event()

    def pull() -> None:
        try:
            with engine.errors("The base image cannot be pulled"):
                name, _, tag = image.partition("@")[0].rpartition(":")
                options: dict[str, Any]
                options = {"repository": image} if "/" in tag or not name else {"repository": name, "tag": tag}
                for line in engine.client().pull(**options, stream=True, decode=True):
                    if "error" in line:
                        return
                    # The first line only repeats the name; one with an id is the registry's own.
                    if line.get("id") and line.get("status", "").startswith(("Pull", "Down", "Already", "Extract")):
                        begun.set()
        except InfraError as error:
            logger.info("%s", error)
        finally:
            over.set()

    threading.Thread(target=pull, name="pull", daemon=True).start()
    until = time.monotonic() + PULL_ANSWER_S
    while not begun.is_set() and not over.is_set() and (left := until - time.monotonic()) > 0:
        begun.wait(min(left, 0.05))
    return begun.is_set()


def _host_options(spec: SandboxSpec, network: str, *, bounded: bool, init: bool) -> dict[str, Any]:
    limits: Limits = spec.limits
    options: dict[str, Any] = {
        "network_mode": network,
        "init": init,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "pids_limit": limits.pids,
        "mem_limit": limits.memory_mb * 1024 * 1024,
        # The same as memory: no swap on top.
        "memswap_limit": limits.memory_mb * 1024 * 1024,
        # Counts as memory too, so a large one gives nothing away.
        "shm_size": limits.memory_mb * 1024 * 1024 // 2,
        # Not nano_cpus, which is refused for more CPUs than the machine has.
        "cpu_period": CPU_PERIOD_US,
        "cpu_quota": max(1000, int(limits.cpus * CPU_PERIOD_US)),
        "log_config": {"type": "none"},
        "ulimits": [
            {"Name": "fsize", "Soft": limits.disk_mb * MB, "Hard": limits.disk_mb * MB},
            {"Name": "core", "Soft": 0, "Hard": 0},
        ],
        "binds": {str(mount.source): {"bind": mount.target, "mode": "ro"} for mount in spec.mounts},
    }
    if spec.root:
        options["cap_add"] = BUILDER_CAPABILITIES
    if network not in ("none", "bridge"):
        # Some engines answer names for a network that leads nowhere else, and a question can carry secrets out.
        options |= {"dns": ["127.0.0.1"], "dns_opt": ["timeout:1", "attempts:1"]}
    if network == "bridge":
        options["extra_hosts"] = {"host.docker.internal": "host-gateway"}
    if bounded:
        options["storage_opt"] = {"size": f"{limits.disk_mb}M"}
    return options


def _name(labels: Mapping[str, str]) -> str:
    """Return a container name that a person can place in `docker ps`."""
    parts = ["oneshot", labels.get("oneshot.purpose", ""), labels.get("oneshot.run", "")[-12:], secrets.token_hex(4)]
    return "-".join("".join(c for c in part if c.isalnum() or c in "_.") for part in parts if part)


def _info(found: Mapping[str, Any]) -> SandboxInfo:
    created = datetime.fromtimestamp(found["Created"], UTC)
    labels = found.get("Labels") or {}
    try:
        expires = datetime.fromtimestamp(int(labels[EXPIRES]), UTC)
    except (KeyError, ValueError, OverflowError):
        expires = created
    return SandboxInfo(id=found["Id"], labels=labels, created_at=created, expires_at=expires)
