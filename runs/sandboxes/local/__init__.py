"""Sandboxes on this machine without a container engine: bubblewrap, else `unshare`, else a plain process."""

from __future__ import annotations

import json
import logging
import os
import platform
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings

from runs.errors import InfraError, TaskError
from runs.sandboxes import proc
from runs.sandboxes.base import Limits, SandboxInfo, SandboxSpec
from runs.sandboxes.local import cgroups, users
from runs.sandboxes.local.access import open_way
from runs.sandboxes.local.cgroups import Controller, Group
from runs.sandboxes.local.jail import JAILS, Jail, Plain, works
from runs.sandboxes.local.plan import Plan, choose_workdir
from runs.sandboxes.local.sandbox import (
    META,
    USERS,
    LocalSandbox,
    groups_of,
    remove,
    write_meta,
)

logger = logging.getLogger(__name__)

_ID = re.compile(r"[0-9a-f]{24}")
# A directory without a readable meta.json is one that is just being made, or was left half-made.
UNFINISHED_FOR_S = 600
# Control groups made only to see whether one can, named after the process that tries
TRY = "oneshot-try-"


class LocalProvider:
    """See runs.sandboxes.base.Provider. `jail` forces one way of isolation, by name; None takes the best that works."""

    name = "local"

    def __init__(self, jail: str | None = None) -> None:
        self._jails = [one for one in JAILS if jail in (None, one.name)]
        self._jail: Jail | None = None
        self._controllers: Sequence[Controller] | None = None

    def available(self) -> str:
        if sys.platform == "win32":
            return "The local sandbox needs Linux or macOS. Use Docker, or run OneShot in WSL."
        missing = [name for name in ("git", "cp", "du") if shutil.which(name) is None]
        if missing:
            return f"The local sandbox needs {', '.join(missing)} on PATH. Install it."
        return ""

    def isolation(self) -> str:
        return self._chosen().name

    def create(self, spec: SandboxSpec) -> LocalSandbox:
        image = Path(spec.image)
        if not (image / "work").is_dir():
            raise TaskError(f"The image directory {image} is not there any more. Prepare the task again.")
        about = _image_facts(image)
        jail = self._chosen()
        root = self._root()
        sandbox_id = secrets.token_hex(12)
        expires_at = time.time() + spec.limits.lifetime_s
        uid = users.reserve(root / USERS, sandbox_id)
        directory = root / sandbox_id
        group = groups_of(self._find_controllers(), sandbox_id)
        try:
            if uid is not None and isinstance(jail, Plain) and not open_way(image, directory.parent):
                # Its own user could not even reach its files, so it must be ours.
                users.release(root / USERS, uid)
                uid = None
            # Before anything else is in it, so that a sweep can always tell what it has found.
            directory.mkdir(mode=0o700)
            if uid is not None:
                # Its own user may pass, and no other sandbox's.
                os.chown(directory, 0, uid)
                directory.chmod(0o710)
            labels = {**spec.labels, "oneshot.expires": str(int(expires_at))}
            write_meta(directory, {"labels": labels, "created": time.time(), "expires": expires_at, "uid": uid})
            remapped = not isinstance(jail, Plain)
            plan = Plan(
                id=sandbox_id,
                directory=directory,
                image=image,
                uid=uid,
                limits=spec.limits,
                network=spec.network,
                workdir=choose_workdir(spec.workdir, image) if remapped else spec.workdir,
                builder=spec.root,
                mounts=tuple(spec.mounts),
                env=dict(spec.env),
                remapped=remapped,
            )
            _fill(plan)
            if group:
                group.make(spec.limits)
        except BaseException as error:
            remove(directory, uid, group, may_run=False)
            if isinstance(error, OSError | subprocess.CalledProcessError):
                raise InfraError(f"The sandbox's directory cannot be made: {_words(error)}") from error
            raise
        return LocalSandbox(plan, jail, group, spec.door, about.get("env", {}), expires_at)

    def list(self, labels: Mapping[str, str]) -> list[SandboxInfo]:
        root = Path(settings.DATA_DIR) / "sandboxes"
        found = []
        for directory in root.iterdir() if root.is_dir() else ():
            if _ID.fullmatch(directory.name):
                meta = _meta(directory)
                info = SandboxInfo(
                    id=directory.name,
                    labels=meta["labels"],
                    created_at=datetime.fromtimestamp(meta["created"], UTC),
                    expires_at=datetime.fromtimestamp(meta["expires"], UTC),
                )
                if all(info.labels.get(name) == value for name, value in labels.items()):
                    found.append(info)
        return found

    def destroy(self, sandbox_id: str) -> None:
        if not _ID.fullmatch(sandbox_id):
            raise InfraError(f"{sandbox_id!r} is no id of a local sandbox.")
        directory = Path(settings.DATA_DIR) / "sandboxes" / sandbox_id
        group = groups_of(self._find_controllers(), sandbox_id)
        remove(directory, _meta(directory)["uid"] if directory.exists() else None, group, may_run=True)

    def door_host(self) -> tuple[str, str]:
        return "127.0.0.1", "127.0.0.1"

    # What works here

    def _chosen(self) -> Jail:
        if self._jail is None:
            self._jail = next((jail for jail in self._jails if self._try(jail)), None)
        if self._jail is None:
            raise InfraError(
                f"The local sandbox cannot isolate by {', '.join(jail.name for jail in self._jails)} here."
            )
        return self._jail

    def _try(self, jail: Jail) -> bool:
        """Whether the jail really holds a process here; that a program is installed says little."""
        if isinstance(jail, Plain):
            return True
        with tempfile.TemporaryDirectory(dir=self._root(), prefix=".try-") as name:
            directory = Path(name)
            image = directory / "image"
            for part in ("work", "home", "opt"):
                (image / part).mkdir(parents=True)
            uid = users.reserve(self._root() / USERS, "try")
            plan = Plan(
                id="try", directory=directory, image=image, uid=uid, limits=Limits(), network="none", workdir="/work"
            )
            try:
                _fill(plan)
                problem = works(jail, plan)
            except (OSError, subprocess.CalledProcessError) as error:
                problem = _words(error)
            finally:
                users.release(self._root() / USERS, uid)
            if problem:
                logger.info("The local sandbox cannot use %s here: %s", jail.name, problem)
            return not problem

    def _find_controllers(self) -> Sequence[Controller]:
        """Return where control groups can really be made by this process, tried once."""
        if self._controllers is None:
            found = cgroups.find() if platform.system() == "Linux" else []
            self._controllers = found if found and _can_group(found) else []
        return self._controllers

    def _root(self) -> Path:
        root = Path(settings.DATA_DIR) / "sandboxes"
        root.mkdir(mode=0o711, parents=True, exist_ok=True)
        return root


def _can_group(controllers: Sequence[Controller]) -> bool:
    """Whether a process of ours can be put into a group under these controllers."""
    group = Group(f"{TRY}{os.getpid()}", controllers)
    for controller in controllers:
        for left in controller.parent.glob(f"{TRY}*"):
            if proc.process(int(left.name.removeprefix(TRY) or 0)) is None:
                Group(left.name, [controller]).remove()
    try:
        group.make(Limits())
        for entrance in group.entrances:
            done = subprocess.run(
                ["/bin/sh", "-c", 'echo 0 > "$1"', "join", entrance], capture_output=True, timeout=5, check=False
            )
            if done.returncode != 0:
                return False
        return True
    except (OSError, subprocess.TimeoutExpired):
        return False
    finally:
        group.remove()


def _fill(plan: Plan) -> None:
    """Copy the image's own parts into the sandbox and make the rest. Raises OSError, CalledProcessError."""
    if not plan.builder:
        for name in ("work", "home"):
            source = plan.image / name
            if source.is_dir():
                _copy(source, plan.directory / name)
            else:
                (plan.directory / name).mkdir()
    plan.tmp.mkdir(mode=0o700)
    plan.etc.mkdir(mode=0o755)
    user = 10001 if plan.uid is None else plan.uid
    for name, text in {
        "passwd": f"root:x:0:0:root:/root:/bin/sh\nagent:x:{user}:{user}:agent:/home/agent:/bin/sh\n",
        "group": f"root:x:0:\nagent:x:{user}:\n",
        "hosts": "127.0.0.1 localhost sandbox\n::1 localhost\n",
        "hostname": "sandbox\n",
    }.items():
        (plan.etc / name).write_text(text, encoding="ascii")
        (plan.etc / name).chmod(0o644)
    if plan.uid is not None:
        owned = [plan.work, plan.home, plan.tmp, *([plan.opt] if plan.builder else [])]
        names = [str(path) for path in owned if path.exists()]
        subprocess.run(["chown", "-R", "-h", f"{plan.uid}:{plan.uid}", "--", *names], capture_output=True, check=True)


def _copy(source: Path, target: Path) -> None:
    linux = platform.system() == "Linux"
    # A reflink shares the blocks until one side writes; where the file system cannot, it is an ordinary copy.
    command = ["cp", "-a", "--reflink=auto"] if linux else ["cp", "-Rp"]
    subprocess.run([*command, "--", str(source), str(target)], capture_output=True, check=True)


def _image_facts(image: Path) -> dict[str, Any]:
    """Return image.json's content, {} when there is none. Raises TaskError when it cannot be read."""
    try:
        return json.loads((image / "image.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise TaskError(f"{image / 'image.json'} is not valid JSON: {error}. Prepare the task again.") from error


def _meta(directory: Path) -> dict[str, Any]:
    """Return what is known of a sandbox; one whose facts cannot be read expires some time after it was made."""
    try:
        meta = json.loads((directory / META).read_text(encoding="utf-8"))
        return {"uid": None, **meta}
    except (OSError, ValueError):
        try:
            made = directory.stat().st_mtime
        except OSError:
            made = 0.0
        return {"labels": {}, "created": made, "expires": made + UNFINISHED_FOR_S, "uid": None}


def _words(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return error.stderr.decode("utf-8", "replace").strip()[-300:] or str(error)
    return str(error)
