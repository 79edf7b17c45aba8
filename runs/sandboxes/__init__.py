"""Finds the ways to make sandboxes: Docker, the local one, and plug-ins of other packages.

A plug-in names a `Provider` class, made without arguments, in the entry-point group "oneshot.sandboxes".
"""

from __future__ import annotations

import hashlib
import importlib
import threading
from importlib.metadata import EntryPoint, entry_points

from django.conf import settings

from runs.errors import InfraError
from runs.sandboxes.base import Provider

GROUP = "oneshot.sandboxes"
BUILT_IN = {
    "docker": "runs.sandboxes.docker:DockerProvider",
    "local": "runs.sandboxes.local:LocalProvider",
}

_providers: dict[str, Provider] = {}
_making = threading.Lock()


def names() -> list[str]:
    """Return the names of all kinds of sandbox, whether they can be made here or not."""
    return [*BUILT_IN, *sorted(_plugins())]


def get(name: str) -> Provider:
    """Return the provider called `name`, the same object on every call. Raises InfraError when there is none."""
    with _making:
        if name not in _providers:
            _providers[name] = _load(name)
        return _providers[name]


def choose(name: str = "auto") -> Provider:
    """Return a provider that can make sandboxes here: the named one, or for "auto" the best.

    "auto" is the site's ONESHOT_SANDBOX, and where that says auto as well, Docker with the base image at hand or
    else the local sandbox. Raises InfraError, with the mend, when nothing can be used.
    """
    if name == "auto":
        name = settings.SANDBOX
    if name != "auto":
        provider = get(name)
        if problem := provider.available():
            raise InfraError(f"The {name} sandbox cannot be used: {problem}")
        return provider
    docker, local = get("docker"), get("local")
    no_docker = docker.available() or _base_image_problem(docker)
    if not no_docker:
        return docker
    if no_local := local.available():
        raise InfraError(f"No sandbox can be made here. Docker: {no_docker} Local: {no_local}")
    return local


def instance() -> str:
    """Return the short id of this installation, the same for every process that shares its data directory."""
    return hashlib.sha256(str(settings.DATA_DIR).encode()).hexdigest()[:12]


def warm() -> None:
    """Load what a sandbox needs and look once at what works here.

    A worker calls it before it forks: children then start their first sandbox without importing the Docker SDK.
    Nothing that could not be shared with a child is left open. Never raises for a sandbox that does not work.
    """
    for name in BUILT_IN:
        provider = get(name)
        if not provider.available():
            provider.isolation()
        if name == "docker":
            _base_image_problem(provider)


def _base_image_problem(provider: Provider) -> str:
    """Return why the site's base image cannot be used with this provider, when it can tell; else ""."""
    check = getattr(provider, "base_image_problem", None)
    return check() if check else ""


def _plugins() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP) if entry.name not in BUILT_IN}


def _load(name: str) -> Provider:
    if path := BUILT_IN.get(name):
        module, _, attribute = path.partition(":")
        return getattr(importlib.import_module(module), attribute)()
    plugins = _plugins()
    if name not in plugins:
        known = ", ".join(["auto", *BUILT_IN, *sorted(plugins)])
        raise InfraError(f"There is no sandbox called {name!r}. Use one of: {known}.")
    try:
        return plugins[name].load()()
    except Exception as error:
        raise InfraError(f"The sandbox plug-in {name!r} ({plugins[name].value}) cannot be loaded: {error}") from error
