"""Builds a task's own Dockerfile with the engine's classic builder, which Docker and Podman both have."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import socket
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runs.errors import InfraError
from runs.images.plan import Plan, failure
from runs.sandboxes.base import ExecResult
from runs.sandboxes.docker import engine
from tasks import trees

NAME = ".oneshot-dockerfile"
BUNDLE = ".oneshot-ca-bundle.pem"
FORGET_WITHIN_S = 10.0
# Read by programs in the steps of the build; removed with its directory before the image is kept.
BUNDLE_INSIDE = "/tmp/.oneshot-build/ca-bundle.pem"  # noqa: S108 - inside the build


class Build:
    """One run of the builder. The repository at the base is the context, so that COPY finds its files."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        # Every image that a step made or took from the builder's cache, without the ones that a FROM names.
        self.steps: list[str] = []
        self._response: Any = None
        self._stopped = False

    def abort(self) -> None:
        """End the build from another thread: the engine stops when its client hangs up."""
        self._stopped = True
        if self._response is not None:
            reader = self._response.raw._fp.fp.raw
            with contextlib.suppress(OSError, AttributeError):
                getattr(reader, "_sock", reader).shutdown(socket.SHUT_RDWR)

    def run(self, text: str, archive: Path, directory: Path) -> str:
        """Return the id of the image. Raises TaskError or InfraError with the last lines."""
        variables = self.plan.site.variables(BUNDLE_INSIDE)
        context = directory / "context.tar"
        shutil.copyfile(archive, context)
        files = {NAME: with_arguments(text, sorted(variables), copy_bundle=bool(self.plan.site.bundle)).encode()}
        if self.plan.site.bundle:
            files[BUNDLE] = self.plan.site.bundle
        _append(context, files)
        self.plan.say("building the task's own Dockerfile")
        lines: list[str] = []
        image = ""
        is_from = False
        for message in self._messages(context, variables):
            if error := message.get("error"):
                lines.extend(str(error).splitlines())
                detail = message.get("errorDetail") or {}
                return self._fail(lines, detail.get("code"))
            if said := str(message.get("stream") or "").rstrip("\n"):
                self.plan.say(said)
                is_from = bool(re.match(r"Step \d+/\d+ : FROM ", said, re.I)) or (is_from and "--->" in said)
                if not is_from:
                    self.steps += re.findall(r"---> ([0-9a-f]{12,64})$", said, re.M)
                lines = [*lines, *said.splitlines()][-400:]
            image = str((message.get("aux") or {}).get("ID") or image)
        if not image and not self._stopped:
            raise InfraError("The engine's builder ended without an image. Look at the engine's own log.")
        return image

    def forget(self) -> None:
        """Remove the images of all steps, whose history names what the site gave to the build."""
        client = engine.client()
        until = time.monotonic() + FORGET_WITHIN_S
        left = list(reversed(dict.fromkeys(self.steps)))
        # The container of a step that was stopped holds its image for a moment.
        while left and time.monotonic() < until:
            kept = []
            for image in left:
                try:
                    with engine.errors("An intermediate image cannot be removed"):
                        client.remove_image(image, force=True)
                except engine.Gone:
                    continue
                except InfraError as error:
                    # One with children is in another build too, which forgets it in its turn.
                    if "container" in str(error):
                        kept.append(image)
            left = kept
            if left:
                time.sleep(0.2)

    def _fail(self, lines: list[str], code: object) -> str:
        status = code if isinstance(code, int) else _status_in(lines)
        result = ExecResult(exit_code=status, stdout=b"", stderr=b"", seconds=0.0)
        if re.search(r"pull access denied|manifest unknown|manifest for .* not found", lines[-1]):
            result = ExecResult(exit_code=1, stdout=b"", stderr=b"", seconds=0.0)
        raise failure("The task's own Dockerfile", result, lines, timeout_s=self.plan.timeout_s)

    def _messages(self, context: Path, variables: dict[str, str]) -> Iterator[dict[str, Any]]:
        client = engine.client()
        parameters = {
            "dockerfile": NAME,
            "rm": "1",
            "forcerm": "1",
            "pull": "0",
            "version": "1",
            "labels": json.dumps({"oneshot.purpose": "image"}),
            "buildargs": json.dumps(variables),
        }
        with engine.errors("The engine's builder cannot be used"), context.open("rb") as file:
            self._response = client.post(
                f"{client.base_url}/v{client.api_version}/build",
                params=parameters,
                data=file,
                headers={"Content-Type": "application/x-tar"},
                stream=True,
                timeout=self.plan.timeout_s,
            )
            if self._response.status_code >= 400:
                words = self._response.json().get("message", self._response.text)
                self._fail(str(words).splitlines(), 1)
            rest = b""
            for piece in self._response.iter_content(None):
                *whole, rest = (rest + piece).split(b"\n")
                for row in whole:
                    if row.strip():
                        yield json.loads(row)


def with_arguments(text: str, names: list[str], *, copy_bundle: bool) -> str:
    """Return a Dockerfile in which every stage knows these build arguments, and has the site's certificates.

    An ARG is known to the steps of a build and left out of the image's configuration.
    """
    more = [f"ARG {name}" for name in names]
    if copy_bundle:
        more.append(f"COPY {BUNDLE} {BUNDLE_INSIDE}")
    lines: list[str] = []
    in_from = False
    for line in text.splitlines():
        lines.append(line)
        begins = bool(re.match(r"\s*FROM\s", line, re.I))
        if (begins or in_from) and not line.rstrip().endswith("\\"):
            lines += more
            in_from = False
        elif begins:
            in_from = True
    return "\n".join(lines) + "\n"


def _status_in(lines: list[str]) -> int | None:
    match = re.search(r"returned a non-zero code: (\d+)", lines[-1] if lines else "")
    return int(match[1]) if match else 1


def _append(context: Path, files: dict[str, bytes]) -> None:
    """Add files to an archive that `tasks.trees` wrote."""
    with tarfile.open(context, "a", format=tarfile.GNU_FORMAT, **trees.NAMES) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(data), 0o644, trees.TIME
            archive.addfile(member, io.BytesIO(data))
