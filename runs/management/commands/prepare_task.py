"""Make tasks ready to run: fetch the base, build the image, look into it."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from typing import Any

from oneshot.management.base import BadInput, OneShotCommand
from runs import images, sandboxes
from runs.errors import Fault
from runs.management.commands.run_task import find_version
from runs.sandboxes.base import Provider
from tasks.models import TaskVersion

READY, FAILED = 0, 3


class Command(OneShotCommand):
    help = (
        "Prepare tasks: fetch the base commit, build the image, and show that the answer is not in it. "
        "Exit status 0: all are ready; 3: some are not; 2: bad input."
    )
    example = "oneshot prepare_task fix-the-add-bug --sandbox docker"
    prints_json = True

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("tasks", metavar="SLUG", nargs="+", help="slug of a task, or SLUG@VERSION")
        parser.add_argument("--sandbox", metavar="S", default="auto", help=f"auto, {', '.join(sandboxes.names())}")
        parser.add_argument("--rebuild", action="store_true", help="build the image anew, though there is one")

    def run(self, *, tasks: list[str], sandbox: str, rebuild: bool, **options: Any) -> int:
        versions = [find_version(name) for name in tasks]
        try:
            provider = sandboxes.choose(sandbox)
        except (Fault, LookupError, ValueError) as error:
            raise BadInput(str(error)) from error
        rows = [self._prepare(version, provider, rebuild=rebuild) for version in versions]
        if self.as_json:
            self.emit({"tasks": rows})
        return READY if all(row["ready"] for row in rows) else FAILED

    def _prepare(self, version: TaskVersion, provider: Provider, *, rebuild: bool) -> dict[str, Any]:
        self.say(f"Preparing {version} for the {provider.name} sandbox")
        started = time.monotonic()
        row: dict[str, Any] = {
            "slug": version.task.slug,
            "version": version.number,
            "sandbox": provider.name,
            "ready": False,
            "commit": None,
            "image": None,
            "digest": None,
            "size_bytes": None,
            "checks": [],
            "error": "",
            "fault": None,
        }
        try:
            image = images.ensure(version, provider.name, log=self._log, retry=True, rebuild=rebuild)
            row |= {"image": image.reference, "digest": image.digest, "size_bytes": image.size_bytes}
            row["checks"] = images.checks(version, image, provider)
            row["ready"] = all(check["status"] != "failed" for check in row["checks"])
        except Fault as fault:
            row |= {"error": str(fault), "fault": fault.side}
        row["commit"] = version.snapshot_commit or None
        row["seconds"] = round(time.monotonic() - started, 3)
        if not self.as_json:
            self.stdout.write(_as_text(row))
        return row

    def _log(self, source: str, text: str) -> None:
        for line in text.splitlines():
            self.say(f"  {line}")


def _as_text(row: dict[str, Any]) -> str:
    ending = "ready" if row["ready"] else "not ready"
    lines = [f"{row['slug']} v{row['version']} is {ending}, after {row['seconds']:.1f} s"]
    if row["error"]:
        whose = {"task": "the task", "agent": "the agent", "infra": "this installation"}.get(row["fault"], "unknown")
        lines += [f"  At fault: {whose}", *(f"  {line}" for line in row["error"].splitlines())]
    if row["commit"]:
        lines.append(f"  Base      {row['commit']}")
    if row["image"]:
        size = "unknown" if row["size_bytes"] is None else f"{row['size_bytes'] / 1e6:.0f} MB"
        lines.append(f"  Image     {row['image']} ({size})")
    lines += [f"  {check['status']:8}  {check['name']}: {check['evidence']}" for check in row["checks"]]
    return "\n".join(lines)
