"""What keeps a capture from starting, ending or being rebuilt. Messages are written for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tasks.capture.readiness import Readiness


class CaptureError(Exception):
    """A capture cannot do what was asked; the message says why and what to do."""

    code = "CAPTURE_FAILED"


class BadRepository(CaptureError):
    """There is no git repository here, or one that cannot be read or written."""

    code = "BAD_REPOSITORY"


class NotReady(CaptureError):
    """The repository is in a state in which no capture may start; `readiness` lists what to mend."""

    code = "NOT_READY"

    def __init__(self, readiness: Readiness) -> None:
        super().__init__(readiness.summary)
        self.readiness = readiness

    @property
    def details(self) -> dict[str, Any]:
        return self.readiness.as_dict()


class SeveralOpen(CaptureError):
    """More than one open capture fits; the message lists them."""

    code = "SEVERAL_OPEN"


class WrongState(CaptureError):
    """The capture was dropped, so that it cannot be ended."""

    code = "DROPPED"


class CannotRebuild(CaptureError):
    """A task cannot be made from a session, because something that it needs is missing; the message names it."""

    code = "CANNOT_REBUILD"
