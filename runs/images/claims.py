"""Who builds an image: one process holds its row by a heartbeat, the others wait and follow its log."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from oneshot import store
from runs import hosts
from runs.errors import Fault, InfraError, TaskError
from runs.images.plan import Built
from runs.models import Image, LogChunk
from traces.redaction import MASK, redact

Log = Callable[[str, str], None]
Alive = Callable[[], None]

Status = Image.Status
# A failed build is not repeated this soon for the runs of one batch: they get its error at once.
FAILURE_LASTS_S = 60.0
FLUSH_S = 0.4
CHUNK_CHARS = 16_000
LONGEST_LINE = 4_000
MOST_CHARS = 8_000_000


class Overtaken(Exception):
    """Another process builds this image now; ours must write nothing more."""


def claim(image: Image, *, take: Q) -> Claim | None:
    """Take the row for this process when it still is as `take` says and nobody else was faster."""
    now = timezone.now()
    builder = hosts.this_process()
    took = Image.objects.filter(take, pk=image.pk, tries=image.tries).update(
        status=Status.BUILDING,
        tries=F("tries") + 1,
        builder=builder,
        heartbeat_at=now,
        started_at=now,
        finished_at=None,
        error="",
        fault="",
        log_digest="",
    )
    if not took:
        return None
    LogChunk.objects.filter(image=image).delete()
    image.refresh_from_db()
    return Claim(image)


def is_abandoned(image: Image) -> bool:
    """Return whether a row that says it is being built has nobody who builds it."""
    if image.heartbeat_at is None:
        return True
    quiet = timezone.now() - timedelta(seconds=settings.LEASE_S)
    return image.heartbeat_at < quiet or hosts.is_surely_dead(image.builder)


def fresh_failure(image: Image) -> bool:
    """Return whether a build failed just now."""
    recent = timezone.now() - timedelta(seconds=FAILURE_LASTS_S)
    return image.status == Status.FAILED and image.finished_at is not None and image.finished_at > recent


def error_of(image: Image) -> Fault:
    """Return the error with which the last build ended."""
    return (InfraError if image.fault == InfraError.side else TaskError)(image.error)


class Claim:
    """A row that this process builds. Use its methods from the thread that has the database connection."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self._held = Image.objects.filter(pk=image.pk, tries=image.tries, status=Status.BUILDING)
        self._beaten_at = time.monotonic()

    def keep(self) -> None:
        """Give a sign of life when one is due. Raises Overtaken when the row is in other hands."""
        since = time.monotonic() - self._beaten_at
        if since < settings.HEARTBEAT_S:
            return
        try:
            found = self._held.update(heartbeat_at=timezone.now())
        except DatabaseError:
            connection.close()
            # Past the lease another process may build, so this one must stop before that.
            if since > settings.LEASE_S * 0.8:
                raise Overtaken from None
            return
        self._beaten_at = time.monotonic()
        if not found:
            raise Overtaken

    def ready(self, built: Built, log: BuildLog) -> None:
        """Record the finished image."""
        self._end(log, status=Status.READY, reference=built.reference, size_bytes=built.size_bytes, error="", fault="")

    def failed(self, fault: Fault, log: BuildLog) -> None:
        """Record why there is no image."""
        self._end(log, status=Status.FAILED, error=str(fault), fault=fault.side)

    def give_up(self) -> None:
        """Leave the row to whoever still wants the image, at once."""
        self._held.update(heartbeat_at=None, builder="")

    def _end(self, log: BuildLog, **fields: Any) -> None:
        log.flush()
        with transaction.atomic():
            found = self._held.update(finished_at=timezone.now(), log_digest=log.settle(), **fields)
        if not found:
            raise Overtaken
        self.image.refresh_from_db()


class BuildLog:
    """The log of a build: lines come from any thread, and reach the database and the run's log from one."""

    def __init__(self, image: Image, log: Log, secrets: tuple[str, ...]) -> None:
        self._image = image
        self._log = log
        self._secrets = secrets
        self._incoming: deque[tuple[float, str]] = deque()
        self._lock = threading.Lock()
        self._written = 0
        self._flushed_at = time.monotonic()

    def say(self, text: str) -> None:
        """Add lines. Secrets of the site are taken out here, before anything is kept."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        text = redact(text).replace("\x00", "\N{REPLACEMENT CHARACTER}")
        now = time.time()
        with self._lock:
            self._incoming.extend((now, line[:LONGEST_LINE]) for line in text.splitlines())

    def flush(self, *, only_if_due: bool = False) -> None:
        """Write what has come to the row's chunks and to the caller's log."""
        if only_if_due and time.monotonic() - self._flushed_at < FLUSH_S:
            return
        self._flushed_at = time.monotonic()
        with self._lock:
            lines, self._incoming = list(self._incoming), deque()
        if not lines:
            return
        self._log("build", "\n".join(line for _, line in lines))
        rows = [json.dumps({"t": round(at, 3), "s": "build", "x": line}, ensure_ascii=False) for at, line in lines]
        chunk: list[str] = []
        for row in rows:
            if self._written > MOST_CHARS:
                break
            chunk.append(row)
            self._written += len(row)
            if sum(map(len, chunk)) > CHUNK_CHARS:
                self._write(chunk)
                chunk = []
        self._write(chunk)

    def _write(self, rows: list[str]) -> None:
        if rows:
            LogChunk.objects.create(image=self._image, text="\n".join(rows))

    def settle(self) -> str:
        """Turn the chunks into one document and return its digest; "" when there were none."""
        chunks = LogChunk.objects.filter(image=self._image).order_by("id")
        texts = list(chunks.values_list("text", flat=True))
        if not texts:
            return ""
        digest = store.put_text("\n".join(texts))
        chunks.delete()
        return digest


class Follower:
    """Passes on the log of a build that another process does."""

    def __init__(self, image: Image, log: Log) -> None:
        self._image = image
        self._log = log
        self._tries = image.tries
        self._chunk = 0
        self._lines = 0

    def look(self, image: Image) -> None:
        """Pass on what is new since the last look; `image` is the row as it is now."""
        if image.tries != self._tries:
            self._tries, self._chunk, self._lines = image.tries, 0, 0
        if image.log_digest:
            lines = store.get_text(image.log_digest).split("\n")[self._lines :]
        else:
            found = list(LogChunk.objects.filter(image=image, id__gt=self._chunk).order_by("id"))
            lines = [line for chunk in found for line in chunk.text.split("\n")]
            self._chunk = found[-1].pk if found else self._chunk
        self._lines += len(lines)
        if lines:
            self._log("build", "\n".join(json.loads(line)["x"] for line in lines))
