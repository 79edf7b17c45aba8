"""What the builder of Docker images asks of the engine: look up, pull, lay files in, say what an image is."""

from __future__ import annotations

import io
import tarfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings

from runs.errors import InfraError, TaskError
from runs.images import scripts
from runs.images.plan import NO_NETWORK, NO_TRUST, Plan
from runs.images.work import Stopped
from runs.sandboxes.base import Sandbox
from runs.sandboxes.docker import engine

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What a container says of itself is inherited by images made from it; these make it say nothing.
NO_LABELS = ("oneshot.instance", "oneshot.run", "oneshot.image", "oneshot.try", "oneshot.expires")


def tag_of(repository: str, digest: str) -> str:
    return f"{repository}:{digest[:40]}"


def changes(plan: Plan, env: Mapping[str, str]) -> list[str]:
    """Return what to set in the configuration of an image, as lines of a Dockerfile.

    `env` is empty for a layer, which says nothing of where and as whom to work.
    """
    labels = [*(f'{name}=""' for name in NO_LABELS), 'oneshot.purpose="image"', f'oneshot.digest="{plan.digest}"']
    lines = ["ENTRYPOINT []", 'CMD ["/bin/sh"]', f"LABEL {' '.join(labels)}"]
    if env:
        lines += [f"ENV {name}={_quoted(value)}" for name, value in env.items()]
        lines += [f"WORKDIR {plan.environment['workdir']}", f"USER {scripts.AGENT}:{scripts.AGENT}"]
    return lines


def _quoted(value: str) -> str:
    """Return a value as a Dockerfile's ENV reads it: `$` and quotes taken as they are."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("\n", " ")
    return f'"{escaped}"'


def inspect(name: str) -> dict[str, Any] | None:
    """Return what the engine knows of an image, or None when it is not here."""
    try:
        with engine.errors("The image cannot be looked up"):
            return engine.client().inspect_image(name)
    except engine.Gone:
        return None


def pull(name: str, say: Callable[[str], None], stop: threading.Event) -> None:
    """Pull an image. Raises TaskError when the registry has none of this name, InfraError when it cannot be asked."""
    known: set[str] = set()
    words = ""
    try:
        with engine.errors(f"The base image {name} cannot be pulled"):
            for line in engine.client().pull(name, stream=True, decode=True):
                if stop.is_set():
                    raise Stopped
                words = str(line.get("error") or words)
                status = f"{line.get('id', '')} {line.get('status', '')}".strip()
                if status not in known and not line.get("progressDetail"):
                    known.add(status)
                    say(status)
    except InfraError as error:
        words = str(error)
    if not words:
        return
    site = name == settings.BASE_IMAGE
    missing = "not found" in words.lower() or "manifest unknown" in words or "does not exist" in words
    if missing and not site and not NO_NETWORK.search(words):
        raise TaskError(f"There is no base image {name}. Correct environment.base_image of the task. {words}")
    mend = "set ONESHOT_BASE_IMAGE to one that is here" if site else "set environment.base_image to one that is here"
    trust = " The registry's certificate is not trusted by the engine." if NO_TRUST.search(words) else ""
    raise InfraError(
        f"The base image {name} is not here and cannot be pulled.{trust} Pull or load it, or {mend}. {words}"
    )


def put_archive(sandbox: Sandbox, path: str, data: Any) -> None:
    client = engine.client()
    with engine.errors(f"Files cannot be laid into {path} of the build"):
        answer = client.put(
            f"{client.base_url}/v{client.api_version}/containers/{sandbox.id}/archive",
            params={"path": path},
            data=data,
            timeout=600,
        )
    if answer.status_code >= 400:
        raise InfraError(f"Files cannot be laid into {path} of the build: {answer.text.strip()[:500]}")


def tar_of(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(data), 0o644, int(time.time())
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def packed(directory: Path) -> bytes:
    """Return a directory as an archive, owned by root."""

    def as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(directory, arcname=directory.name, filter=as_root)
    return buffer.getvalue()
