"""mitmproxy's own environment: it cannot share one with the project's packages, so it is made on first use."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

# The newest mitmproxy that each Python can install; requirements-<name>.txt holds the pins.
_NAME = "py311" if sys.version_info < (3, 12) else "py312"
_VERSION = {"py311": "11.0.2", "py312": "12.2.3"}[_NAME]
MAKE_TIMEOUT_S = 600


class EnvironmentProblem(Exception):
    """The environment cannot be made here; the message says why and what to do."""


def directory() -> Path:
    """Return where the environment is or will be."""
    base = settings.GATEWAY_ENV_DIR
    parent = Path(base) if base else Path(settings.DATA_DIR) / "proxy"
    return parent.resolve() / f"env-{_VERSION}-py{sys.version_info.major}.{sys.version_info.minor}"


def python() -> Path | None:
    """Return the environment's interpreter; None when the environment is not made, or its Python has gone."""
    path = directory() / "bin" / "python"
    return path if path.exists() else None


def make(say: Callable[[str], None]) -> Path:
    """Return the environment's interpreter, making the environment at first. Other makers are waited for.

    Raises EnvironmentProblem when it cannot be made, for example without a way to a package index.
    """
    if found := python():
        return found
    target = directory()
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = target.with_name(target.name + ".lock").open("a")
    except OSError as error:
        raise EnvironmentProblem(f"{target.parent} cannot be written: {error.strerror}.") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if found := python():
            return found
        say(f"Making the gateway's environment (mitmproxy {_VERSION}, about 80 MB) in {target}")
        fresh = target.with_name(f"{target.name}.new")
        # What a maker that was killed left behind.
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        try:
            _build(fresh, say)
            fresh.rename(target)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return target / "bin" / "python"


def _build(fresh: Path, say: Callable[[str], None]) -> None:
    requirements = Path(__file__).with_name(f"requirements-{_NAME}.txt")
    python_path = fresh / "bin" / "python"
    if uv := shutil.which("uv"):
        _run([uv, "venv", "--quiet", "--no-project", "--python", sys.executable, str(fresh)])
        say("Installing mitmproxy with uv")
        _run([uv, "pip", "install", "--quiet", "--python", str(python_path), "-r", str(requirements)])
    else:
        _run([sys.executable, "-m", "venv", str(fresh)])
        say("Installing mitmproxy with pip")
        pip = [str(python_path), "-m", "pip", "--disable-pip-version-check"]
        _run([*pip, "install", "--quiet", "-r", str(requirements)])
    # Proves that it works, and compiles what the first start would have to.
    _run([str(python_path), "-I", "-c", "import mitmproxy.tools.dump, brotli, zstandard"])


def _run(argv: list[str]) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in ("VIRTUAL_ENV", "PYTHONPATH")}
    for name, value in (("INDEX_URL", settings.PIP_INDEX_URL), ("EXTRA_INDEX_URL", settings.PIP_EXTRA_INDEX_URL)):
        if value:
            environment[f"PIP_{name}"] = environment[f"UV_{name}"] = value
    try:
        done = subprocess.run(
            argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=MAKE_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentProblem(f"The gateway's environment cannot be made: {error}") from error
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip())[-1500:]
        raise EnvironmentProblem(f"The gateway's environment cannot be made.\n{words}\n{_mend(words)}")


def _mend(words: str) -> str:
    if "ensurepip" in words or "No module named venv" in words:
        return "Install uv, or Python's venv module (on Debian: apt install python3-venv), and run `oneshot proxy`."
    return (
        "It needs a way to a package index once: check the network, or set ONESHOT_PIP_INDEX_URL to a mirror, "
        "and run `oneshot proxy --install`."
    )


def remove_leftovers() -> None:
    """Remove environments of other versions."""
    keep = directory()
    for path in keep.parent.glob("env-*"):
        if path.is_dir() and path != keep and not path.name.endswith(".new"):
            with contextlib.suppress(OSError):
                shutil.rmtree(path)
