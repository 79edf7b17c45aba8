"""Makes the environments of tasks ready for a kind of sandbox, each once, however many runs ask for it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from django.conf import settings
from django.db.models import Q

from runs import sandboxes
from runs.errors import Fault, InfraError
from runs.images import scripts
from runs.images.checks import checks
from runs.images.claims import Alive, BuildLog, Claim, Follower, Log, Overtaken, claim, error_of, fresh_failure
from runs.images.claims import is_abandoned as _is_abandoned
from runs.images.plan import BUILDER_VERSION, Builder, Built, Plan, Site, site
from runs.images.work import watched
from runs.models import Image
from tasks.environment import IMAGE_FIELDS
from tasks.models import TaskVersion
from tasks.snapshot import ensure_snapshot

__all__ = ["checks", "digest_of", "ensure", "has_builder", "remove_orphaned_builds"]

BUILDERS = {
    "docker": "runs.images.docker:DockerBuilder",
    "local": "runs.images.local:LocalBuilder",
}
POLL_S = 0.3
# What the builder's own container may live beyond the build, before a sweep takes it for lost.
MARGIN_S = 120.0


def ensure(
    version: TaskVersion,
    provider_name: str,
    *,
    log: Log,
    alive: Alive = lambda: None,
    retry: bool = False,
    rebuild: bool = False,
) -> Image:
    """Return the ready image of a version for this kind of sandbox, building it or waiting for who builds it.

    `alive` is called often and may raise to stop: then nothing of the build is left behind. A build that failed
    in the last minute answers with its error at once, unless `retry`. `rebuild` makes a ready image anew.
    `reference` of the returned row is right for this machine, whichever machine built the image.
    Raises TaskError or InfraError with the last lines of the build.
    """
    ensure_snapshot(version, log, alive)
    environment = version.effective_environment()
    builder = builder_of(provider_name)
    digest = digest_of(version, environment, provider_name, builder)
    image, _ = Image.objects.get_or_create(sandbox=provider_name, digest=digest)
    return _Request(version, environment, image, builder, log, alive).answer(retry=retry or rebuild, rebuild=rebuild)


def builder_of(provider_name: str) -> Builder:
    """Return a builder for this kind of sandbox. Raises InfraError when there is none."""
    provider = sandboxes.get(provider_name)
    path = BUILDERS.get(provider_name) or getattr(provider, "image_builder", "")
    if not path:
        raise InfraError(f"Nothing here builds images for the sandbox {provider_name!r}.")
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)()


def digest_of(version: TaskVersion, environment: dict[str, Any], provider_name: str, builder: Builder) -> str:
    """Return the identity of an image: the sha256 of everything that what is in it depends on.

    Trusted certificates, package indexes, time-outs and limits are no part of it.
    """
    document = {
        "builder": [BUILDER_VERSION, scripts.fingerprint()],
        "sandbox": provider_name,
        "snapshot": version.snapshot_digest,
        "commit": version.snapshot_commit,
        "environment": {name: environment.get(name) for name in IMAGE_FIELDS},
        "here": builder.identity(environment),
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class _Request:
    """One caller's wish for an image."""

    def __init__(
        self,
        version: TaskVersion,
        environment: dict[str, Any],
        image: Image,
        builder: Builder,
        log: Log,
        alive: Alive,
    ) -> None:
        self.version = version
        self.environment = environment
        self.image = image
        self.builder = builder
        self.log = log
        self.alive = alive
        self.follower = Follower(image, log)
        self.waited = False

    def answer(self, *, retry: bool, rebuild: bool) -> Image:
        while True:
            if not rebuild and (built := self.builder.find(self.image.digest)):
                return self._found(built)
            if fresh_failure(self.image) and (self.waited or (self.image.fault == "task" and not retry)):
                raise error_of(self.image)
            taken = self._claim(rebuild)
            if taken is not None:
                try:
                    return self._build(taken)
                except Overtaken:
                    self.log("build", "another process has taken this build over")
                    # The old one was told to stop, for good.
                    self.builder = builder_of(self.image.sandbox)
                    rebuild = False
            self._wait()

    def _found(self, built: Built) -> Image:
        """Return the row with what this machine calls the image; the row itself may say what another machine does."""
        if self.image.status == Image.Status.READY and self.image.reference == built.reference:
            return self.image
        building = self.image.status == Image.Status.BUILDING and not _is_abandoned(self.image)
        if self.image.status != Image.Status.READY and not building:
            # The image outlived the record of a failed or lost rebuild; it is as good as it was.
            Image.objects.filter(pk=self.image.pk, tries=self.image.tries).update(
                status=Image.Status.READY,
                reference=built.reference,
                size_bytes=built.size_bytes,
                error="",
                fault="",
            )
            self.image.refresh_from_db()
        self.image.reference = built.reference
        return self.image

    def _claim(self, rebuild: bool) -> Claim | None:
        building = self.image.status == Image.Status.BUILDING
        if building and not _is_abandoned(self.image):
            return None
        if building and self.image.heartbeat_at is not None:
            self.log("build", f"the builder {self.image.builder or 'of this image'} is gone, starting anew")
        lost = _labels(self.image) if building and self.image.heartbeat_at is not None else None
        taken = claim(self.image, take=Q(status=self.image.status))
        if taken is not None and lost:
            self.builder.discard(lost)
        return taken

    def _wait(self) -> None:
        """Wait a moment for whoever builds, passing on the log."""
        self.alive()
        if self.image.status == Image.Status.BUILDING:
            if not self.waited:
                self.log("build", "another process builds this image; waiting for it")
            self.waited = True
            time.sleep(POLL_S)
        self.image.refresh_from_db()
        if self.waited:
            self.follower.look(self.image)

    def _build(self, taken: Claim) -> Image:
        try:
            given = site()
        except Fault as fault:
            taken.failed(fault, BuildLog(self.image, self.log, ()))
            raise
        log = BuildLog(self.image, self.log, given.secrets)
        log.say(f"building the {self.image.sandbox} image {self.image.digest[:12]}")
        started = time.monotonic()
        try:
            built = watched(
                lambda: self.builder.build(self._plan(taken.image, log, given)),
                tick=lambda: self._tick(taken, log),
                abort=self.builder.abort,
            )
        except Fault as fault:
            hidden = type(fault)(_without(str(fault), given.secrets))
            log.say(f"failed after {time.monotonic() - started:.1f} s")
            taken.failed(hidden, log)
            raise hidden from fault
        except Overtaken:
            raise
        except BaseException:
            taken.give_up()
            raise
        log.say(f"ready in {time.monotonic() - started:.1f} s, {(built.size_bytes or 0) / 1e6:.0f} MB")
        taken.ready(built, log)
        return taken.image

    def _tick(self, taken: Claim, log: BuildLog) -> None:
        self.alive()
        taken.keep()
        log.flush(only_if_due=True)

    def _plan(self, image: Image, log: BuildLog, given: Site) -> Plan:
        return Plan(
            version=self.version,
            environment=self.environment,
            digest=image.digest,
            labels=_labels(image),
            say=log.say,
            site=given,
            timeout_s=settings.BUILD_TIMEOUT_S,
        )


def _without(text: str, secrets: tuple[str, ...]) -> str:
    from traces.redaction import MASK, redact

    for secret in secrets:
        text = text.replace(secret, MASK)
    return redact(text)


def _labels(image: Image) -> dict[str, str]:
    """Return the labels of what one try of a build starts, so that it can be found when its process is gone."""
    return {
        "oneshot.instance": sandboxes.instance(),
        "oneshot.purpose": "build",
        "oneshot.run": "",
        "oneshot.image": str(image.pk),
        "oneshot.try": str(image.tries),
    }


def has_builder(labels: Mapping[str, str]) -> bool:
    """Return whether somebody still builds the image for which a sandbox with these labels was made.

    A sandbox that only looks into a finished image names none; its time to live ends it.
    """
    if not labels.get("oneshot.image"):
        return True
    row = Image.objects.filter(
        pk=labels["oneshot.image"], tries=labels.get("oneshot.try") or 0, status=Image.Status.BUILDING
    ).first()
    return row is not None and not _is_abandoned(row)


def remove_orphaned_builds() -> int:
    """Remove what builders left behind that were killed; return how many. Safe to call at any time, from anywhere."""
    count = 0
    wanted = {"oneshot.instance": sandboxes.instance(), "oneshot.purpose": "build"}
    for name in BUILDERS:
        provider = sandboxes.get(name)
        if provider.available():
            continue
        for info in provider.list(wanted):
            if not has_builder(info.labels):
                provider.destroy(info.id)
                count += 1
    return count
