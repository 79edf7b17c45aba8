"""Builds the directories from which local sandboxes are made: the repository, its git, a home, and what set-up adds."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings

from oneshot import store
from runs import sandboxes
from runs.errors import Fault, InfraError, TaskError
from runs.images import editable, scripts
from runs.images.plan import BUILDER_VERSION, Built, Plan, check_guess, failure, with_own_values
from runs.images.work import Lines, Stopped
from runs.sandboxes.base import Limits, Sandbox, SandboxSpec
from tasks import trees
from tasks.gitcommand import git
from tasks.repositories import locked
from tasks.snapshot import make_base_repository

DONE = "image.json"
MARGIN_S = 120.0
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
PLAIN = ("-c", "core.checkStat=minimal", "-c", "core.trustctime=false", "-c", "core.bare=false")
# The programs that tell whether a package is there, where its name is not that of a program.
PROGRAMS = {
    "build-essential": "cc",
    "python3-dev": "python3-config",
    "rustc": "rustc",
    "golang-go": "go",
    "nodejs": "node",
}


class LocalBuilder:
    """See runs.images.plan.Builder."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._sandbox: Sandbox | None = None

    def identity(self, environment: dict[str, Any]) -> dict[str, Any]:
        isolation = sandboxes.get("local").isolation()
        here = {"paths": "real" if isolation == "none" else "remapped", "machine": os.uname().machine}
        return {**here, "python": sys.version} if _needs_venv(environment) else here

    def find(self, digest: str) -> Built | None:
        found = [path for path in _images().glob(f"{digest[:40]}.*/{DONE}") if path.is_file()]
        if not found:
            return None
        newest = max(found, key=lambda path: path.stat().st_mtime)
        facts = json.loads(newest.read_text(encoding="utf-8"))
        return Built(reference=str(newest.parent), size_bytes=facts.get("size_bytes"))

    def abort(self) -> None:
        self._stop.set()
        with self._lock:
            if self._sandbox:
                self._sandbox.destroy()

    def discard(self, labels: dict[str, str]) -> None:
        provider = sandboxes.get("local")
        for info in provider.list(labels):
            provider.destroy(info.id)

    def build(self, plan: Plan) -> Built:
        if plan.environment["dockerfile"]:
            raise TaskError("This task brings its own Dockerfile, which needs Docker: run it with --sandbox docker.")
        images = _images()
        images.mkdir(mode=0o711, parents=True, exist_ok=True)
        for left in images.glob(f"{plan.digest[:40]}.*"):
            if not (left / DONE).exists():
                _delete(left)
        image = Path(tempfile.mkdtemp(dir=images, prefix=f"{plan.digest[:40]}."))
        image.chmod(0o755)
        try:
            return self._fill(plan, image)
        except OSError as error:
            _delete(image)
            raise InfraError(f"The image cannot be made in {image}: {error.strerror or error}.") from error
        except BaseException:
            _delete(image)
            raise

    def _fill(self, plan: Plan, image: Path) -> Built:
        for name in ("home", "opt"):
            (image / name).mkdir()
        archive = image / "base.tar"
        store.get_file(plan.version.snapshot_digest, archive)
        trees.unpack(archive, image / "work")
        commit = make_base_repository(archive, image / "base.git")
        archive.unlink()
        if commit != plan.version.snapshot_commit:
            raise InfraError(
                f"The snapshot gives the base commit {commit[:12]} and not {plan.version.snapshot_commit[:12]}; "
                "the content store was changed. Prepare the task anew."
            )
        self._check()
        _own_git(image)
        self._tell_what_is_missing(plan)
        env = self._set_up(plan, image)
        _finish(image, plan)
        size = _size(image)
        facts = {"env": env, "workdir": plan.environment["workdir"], "size_bytes": size, "digest": plan.digest}
        new = image / f".{DONE}"
        new.write_text(json.dumps(facts, indent=1), encoding="utf-8")
        new.chmod(0o644)
        new.replace(image / DONE)
        return Built(reference=str(image), size_bytes=size)

    def _tell_what_is_missing(self, plan: Plan) -> None:
        """Say which packages of the task this machine lacks: the local sandbox can use them, not install them."""
        missing = [name for name in plan.environment["packages"] if not _has_package(name)]
        if missing:
            plan.say(
                f"the local sandbox cannot install packages, and this machine lacks {', '.join(missing)}: "
                "install them here, or use Docker"
            )

    def _set_up(self, plan: Plan, image: Path) -> dict[str, str]:
        """Run what the task needs inside a sandbox of the image itself; return the variables that it keeps."""
        opt = image.resolve() / "opt"
        setup = plan.environment["setup"]
        venv = opt / "venv" if _needs_venv(plan.environment) else None
        env = {"PATH": _search_path()}
        if venv:
            env["PATH"] = f"{venv}/bin:{env['PATH']}"
            if "PATH" not in plan.environment["env"]:
                env["VIRTUAL_ENV"] = str(venv)
        env |= _mapped(with_own_values(plan.environment["env"], env), opt)
        if not shutil.which("python3", path=PATH):
            # A task's own PATH names the directories of an image, which has its Python there.
            env["PATH"] = ":".join(dict.fromkeys([*env["PATH"].split(":"), *_search_path().split(":")]))
        if not setup and not venv:
            return env
        if venv:
            self._lay_venv(plan, venv)
        if not setup:
            return env
        given = opt / ".build"
        sandbox = self._start(plan, image, given)
        try:
            plan.say("set-up of the task")
            self._run(
                sandbox, plan, "The set-up of the task", scripts.setup_script(setup), _given(plan, given, env), []
            )
        finally:
            self._end(sandbox)
        self._check()
        _take_back(image)
        shutil.rmtree(given, ignore_errors=True)
        self._look_for_secrets(plan, image)
        if sandbox.isolation == "none" and venv:
            for site_packages in venv.glob("lib/python*/site-packages"):
                editable.unpin(site_packages, image / "work")
        return env

    def _lay_venv(self, plan: Plan, venv: Path) -> None:
        """Copy a fresh Python environment to its place, from a pattern that is made once for all tasks."""
        script = scripts.filled(LOCAL_PYTHON, MORE="pytest")
        document = f"{BUILDER_VERSION} {sys.version} {_python()} {sandboxes.get('local').isolation()} {script}"
        key = hashlib.sha256(document.encode()).hexdigest()[:24]
        pattern = _images() / f"python-{key}"
        with locked(f"python-{key}", self._check):
            if not (pattern / DONE).exists():
                self._make_pattern(plan, pattern, script)
        shutil.copytree(pattern / "opt" / "venv", venv, symlinks=True)
        _move_scripts(venv, pattern.resolve() / "opt" / "venv")

    def _make_pattern(self, plan: Plan, pattern: Path, script: str) -> None:
        what = "Making the Python environment"
        plan.say(what)
        _delete(pattern)
        for name in ("work", "home", "opt"):
            (pattern / name).mkdir(parents=True)
        pattern.chmod(0o755)
        given = pattern.resolve() / "opt" / ".build"
        sandbox = self._start(plan, pattern, given)
        try:
            arguments = [_python(), str(given.parent / "venv")]
            self._run(sandbox, plan, what, script, _given(plan, given, {"PATH": _search_path()}), arguments, InfraError)
        finally:
            self._end(sandbox)
        _take_back(pattern)
        shutil.rmtree(given, ignore_errors=True)
        (pattern / DONE).write_text("{}", encoding="ascii")

    def _end(self, sandbox: Sandbox) -> None:
        with self._lock:
            self._sandbox = None
        sandbox.destroy()

    def _start(self, plan: Plan, image: Path, given: Path) -> Sandbox:
        """Start a sandbox that works in the image itself; `given` is where it finds the site's certificates."""
        self._check()
        given.mkdir()
        if plan.site.bundle:
            (given / "ca-bundle.pem").write_bytes(plan.site.bundle)
        limits = Limits(
            memory_mb=max(int(plan.environment["memory_mb"]), settings.MEMORY_MB),
            cpus=max(float(plan.environment["cpus"]), settings.CPUS),
            pids=4096,
            disk_mb=max(int(plan.environment["disk_mb"]), settings.DISK_MB),
            lifetime_s=plan.timeout_s + MARGIN_S,
        )
        spec = SandboxSpec(
            image=str(image),
            labels=plan.labels,
            limits=limits,
            network="full",
            workdir=plan.environment["workdir"],
            root=True,
        )
        sandbox = sandboxes.get("local").create(spec)
        with self._lock:
            self._sandbox = sandbox
        if self._stop.is_set():
            sandbox.destroy()
        self._check()
        return sandbox

    def _check(self) -> None:
        if self._stop.is_set():
            raise Stopped

    def _run(
        self,
        sandbox: Sandbox,
        plan: Plan,
        what: str,
        script: str,
        env: dict[str, str],
        arguments: list[str],
        blame: type[Fault] = TaskError,
    ) -> None:
        lines = Lines(plan.say)
        shell = shutil.which("bash", path=PATH) or "/bin/sh"
        result = sandbox.exec(
            [shell, "-c", script, "sh", *arguments],
            env=env,
            timeout_s=plan.timeout_s,
            max_output_bytes=1_000_000,
            sink=lines.add,
            root=True,
        )
        lines.close()
        self._check()
        if result.exit_code != 0:
            raise failure(what, result, lines.last, timeout_s=plan.timeout_s, blame=blame)
        check_guess(plan.version, lines.gave_up)

    def _look_for_secrets(self, plan: Plan, image: Path) -> None:
        if not plan.site.secrets:
            return
        words = [part for secret in plan.site.secrets for part in ("-e", secret)]
        found = subprocess.run(
            ["grep", "-rlIFs", *words, "--", str(image / "work"), str(image / "home"), str(image / "opt")],
            capture_output=True,
            check=False,
        ).stdout.decode("utf-8", "replace")
        if found:
            raise TaskError(
                "The set-up wrote the password of this site's package index into "
                f"{', '.join(found.splitlines()[:10])}. Let it read the variables PIP_INDEX_URL or "
                "npm_config_registry instead of keeping them."
            )


# Arguments: the interpreter, and the place of the environment.
LOCAL_PYTHON = """
set -eu
"$1" -m venv "$2"
"$2/bin/python" -m pip install --quiet --upgrade pip 'setuptools<81' wheel @MORE@
"$2/bin/python" -m pip list --format=freeze | tr '\\n' ' '
"""


def _given(plan: Plan, directory: Path, env: dict[str, str]) -> dict[str, str]:
    """Return the variables of a build: the task's own, over what the site gives."""
    return {**plan.site.variables(str(directory / "ca-bundle.pem")), **env}


def _move_scripts(venv: Path, before: Path) -> None:
    """Write an environment's new place into its programs, which name their interpreter by its full path."""
    for path in [venv / "pyvenv.cfg", *(venv / "bin").iterdir()]:
        if path.is_symlink() or not path.is_file():
            continue
        data = path.read_bytes()
        if bytes(before) in data:
            path.write_bytes(data.replace(bytes(before), bytes(venv)))


def _images() -> Path:
    return Path(settings.DATA_DIR) / "images"


def _needs_venv(environment: dict[str, Any]) -> bool:
    """Return whether Python must be given more than its standard library."""
    if "python" not in environment["languages"]:
        return False
    return bool(environment["setup"]) or (environment["test_framework"] == "pytest" and not environment["test_command"])


@cache
def _python() -> str:
    """Return an interpreter that sandboxes see and that can make environments. Raises InfraError when there is none."""
    candidates = [getattr(sys, "_base_executable", ""), shutil.which("python3", path=PATH)]
    for candidate in candidates:
        if candidate:
            words = [candidate, "-c", "import venv, ensurepip"]
            if subprocess.run(words, capture_output=True, check=False).returncode == 0:
                return str(Path(candidate).resolve())
    raise InfraError("No Python here can make environments. Install python3-venv, or use Docker.")


def _search_path() -> str:
    """Return where programs are found, with the Python that runs OneShot where the system has none of its own."""
    if shutil.which("python3", path=PATH):
        return PATH
    return f"{PATH}:{Path(getattr(sys, '_base_executable', sys.executable)).resolve().parent}"


def _mapped(env: dict[str, str], opt: Path) -> dict[str, str]:
    """Return the variables with /opt as its real path, which is right in every kind of local sandbox."""
    return {name: re.sub(r"(?<![^:=\s])/opt(?=/|:|$)", str(opt), value) for name, value in env.items()}


def _has_package(name: str) -> bool:
    if shutil.which(PROGRAMS.get(name, name), path=PATH):
        return True
    dpkg = shutil.which("dpkg-query")
    if dpkg is None:
        return False
    words = [dpkg, "-W", "-f", "${Status}", name]
    return b"ok installed" in subprocess.run(words, capture_output=True, check=False).stdout


def _own_git(image: Path) -> None:
    """Make the repository's own .git anew, with the base as its only commit."""
    own = image / "work" / ".git"
    if own.is_symlink() or own.is_file():
        own.unlink()
    elif own.exists():
        shutil.rmtree(own)
    shutil.copytree(image / "base.git", own, symlinks=True)
    (own / "index").unlink(missing_ok=True)
    for name, value in {
        "core.bare": "false",
        "core.logAllRefUpdates": "true",
        "core.checkStat": "minimal",
        "core.trustctime": "false",
        "gc.auto": "0",
        "user.name": "agent",
        "user.email": "agent@localhost",
    }.items():
        git(["config", "--file", str(own / "config"), name, value])


def _finish(image: Path, plan: Plan) -> None:
    """Put back what the set-up changed in tracked files, and leave what it added out of every diff."""
    base, work = image / "base.git", image / "work"
    # No program of the repository runs in these: attributes and hooks are those of base.git, which has none.
    env = {"GIT_WORK_TREE": str(work)}

    def run(*words: str) -> bytes:
        return git([*PLAIN, *words], directory=base, env=env, timeout_s=600).stdout

    run("read-tree", "HEAD")
    run("update-index", "-q", "--really-refresh")
    changed = [os.fsdecode(path) for path in run("diff-files", "--name-only", "-z").split(b"\0") if path]
    if changed:
        plan.say("the set-up changed files of the repository; they are put back: " + ", ".join(changed[:20]))
        for path in changed:
            _clear_the_way(work, path)
        run("checkout-index", "--force", "--all", "--quiet")
        run("update-index", "-q", "--really-refresh")
        if left := run("diff-files", "--name-only"):
            raise TaskError(
                f"The set-up changed files that cannot be put back: {left.decode('utf-8', 'replace')[:300]}"
            )
    (base / "info" / "exclude").write_text("".join(f"{rule}\n" for rule in scripts.NEVER_IN_A_DIFF), encoding="ascii")
    rules = "".join(f"{rule}\n" for rule in scripts.NEVER_IN_A_DIFF)
    others = run("ls-files", "--others", "--exclude-standard", "--directory", "--no-empty-directory", "-z")
    added = [os.fsdecode(path) for path in others.split(b"\0") if path and path != b".git/" and b"\n" not in path]
    rules += "".join("/" + re.sub(r"([\[\]\\*?!# ])", r"\\\1", path) + "\n" for path in added)
    if added:
        plan.say(f"left in the repository by the set-up, and no part of any diff: {' '.join(added)[:500]}")
    (base / "info" / "exclude").write_text(rules, encoding="utf-8", errors="surrogateescape")
    _own_git(image)
    shutil.copyfile(base / "index", work / ".git" / "index")


def _clear_the_way(work: Path, path: str) -> None:
    """Remove what stands where a tracked file belongs, or where a directory above it does; no link is followed."""
    current = work
    parts = path.split("/")
    for position, part in enumerate(parts):
        current = current / part
        last = position == len(parts) - 1
        if current.is_symlink() or (current.exists() and not current.is_dir()):
            current.unlink()
            return
        if not current.exists():
            return
        if last:
            shutil.rmtree(current)


def _take_back(image: Path) -> None:
    """Take what a sandbox's own user made, so that no other sandbox can change it."""
    if os.geteuid() == 0:
        places = [str(image / name) for name in ("work", "home", "opt")]
        subprocess.run(["chown", "-R", "-h", "0:0", "--", *places], capture_output=True, check=True)
        # Set-user bits would make root's programs of what a stranger wrote.
        subprocess.run(["chmod", "-R", "u+rwX,go+rX,go-w,a-s", "--", *places], capture_output=True, check=True)


def _size(image: Path) -> int | None:
    words = ["du", "-sk", "--", str(image)]
    done = subprocess.run(words, capture_output=True, check=False).stdout.split()
    return int(done[0]) * 1024 if done else None


def _delete(directory: Path) -> None:
    subprocess.run(["chmod", "-R", "u+rwX", "--", str(directory)], capture_output=True, check=False)
    shutil.rmtree(directory, ignore_errors=True)
