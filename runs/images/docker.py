"""Builds Docker images by running each step in a container and keeping what it left (as `docker commit` does).

Not by a Dockerfile: what a site gives to a build, such as the password of a package index, is in the environment of
single commands only, and so in no layer, no history and no configuration. Layers that tasks share are kept by a
digest of what made them: first the system's packages, then the languages' tools.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from django.conf import settings

from oneshot import store
from runs import sandboxes
from runs.errors import Fault, InfraError, TaskError
from runs.images import dockerfiles, layers, scripts
from runs.images.plan import BUILDER_VERSION, Built, Plan, check_guess, failure, with_own_values
from runs.images.work import Lines, Stopped
from runs.sandboxes.base import HOME, ExecResult, Limits, Sandbox, SandboxSpec
from runs.sandboxes.docker import engine
from tasks.repositories import locked
from tasks.snapshot import make_base_repository

IMAGES = "oneshot/environment"
LAYERS = "oneshot/layer"
MARGIN_S = 120.0


class DockerBuilder:
    """See runs.images.plan.Builder."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._sandboxes: list[Sandbox] = []
        self._dockerfile: dockerfiles.Build | None = None

    def identity(self, environment: dict[str, Any]) -> dict[str, Any]:
        return {}

    def find(self, digest: str) -> Built | None:
        found = layers.inspect(layers.tag_of(IMAGES, digest))
        return Built(reference=found["Id"], size_bytes=found.get("Size")) if found else None

    def abort(self) -> None:
        self._stop.set()
        with self._lock:
            running = list(self._sandboxes)
            dockerfile = self._dockerfile
        if dockerfile:
            dockerfile.abort()
        for sandbox in running:
            sandbox.destroy()

    def discard(self, labels: dict[str, str]) -> None:
        provider = sandboxes.get("docker")
        for info in provider.list(labels):
            provider.destroy(info.id)

    def build(self, plan: Plan) -> Built:
        with tempfile.TemporaryDirectory(prefix="oneshot-build-") as directory:
            archive = Path(directory) / "base.tar"
            store.get_file(plan.version.snapshot_digest, archive)
            own = _text(plan.environment.get("dockerfile"))
            if own:
                below, flat = self._from_dockerfile(plan, own, archive, Path(directory))
            else:
                below, flat = self._from_layers(plan), False
            base = Path(directory) / "base.git"
            commit = make_base_repository(archive, base)
            if commit != plan.version.snapshot_commit:
                raise InfraError(
                    f"The snapshot gives the base commit {commit[:12]} and not {plan.version.snapshot_commit[:12]}; "
                    "the content store was changed. Prepare the task anew."
                )
            return self._last_layer(plan, below, archive, layers.packed(base), own=bool(own), flat=flat)

    # Layers below the repository

    def _from_layers(self, plan: Plan) -> str:
        """Return the image with the system's packages and the languages' tools, made if it is not here yet."""
        environment = plan.environment
        base = self._base_image(plan)
        languages = " ".join(environment["languages"])
        # The site's own image must be fit for the tools; another one is the task's choice.
        blame = InfraError if environment["base_image"] == settings.BASE_IMAGE else TaskError
        packages = sorted(set(environment["packages"]))
        system = self._layer(
            plan,
            below=base,
            what="Installing the packages",
            script=scripts.filled(scripts.PACKAGES),
            arguments=packages,
            env={"ONESHOT_LANGUAGES": languages},
        )
        if "python" in environment["languages"]:
            system = self._layer(
                plan,
                below=system,
                what="Making the Python environment",
                script=scripts.filled(scripts.PYTHON_TOOLS, MORE="pytest"),
                blame=blame,
            )
        if "node" in environment["languages"]:
            tools = scripts.filled(scripts.NODE_TOOLS)
            system = self._layer(plan, below=system, what="Installing Node", script=tools, blame=blame)
        return system

    def _base_image(self, plan: Plan) -> str:
        """Return the id of the base image, pulled if it is not here."""
        name = plan.environment["base_image"]
        found = layers.inspect(name)
        if not found:
            plan.say(f"pulling {name}")
            layers.pull(name, plan.say, self._stop)
            found = layers.inspect(name)
        if not found:
            raise InfraError(f"The base image {name} was pulled but is not there.")
        return str(found["Id"])

    def _layer(
        self,
        plan: Plan,
        *,
        below: str,
        what: str,
        script: str,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        blame: type[Fault] = TaskError,
    ) -> str:
        """Return the image that a script makes of the one below, from the store of layers or made now."""
        document = [BUILDER_VERSION, below, script, list(arguments), dict(env or {})]
        key = hashlib.sha256(json.dumps(document).encode()).hexdigest()
        tag = layers.tag_of(LAYERS, key)
        with locked(f"layer-{key[:32]}", self._check):
            if found := layers.inspect(tag):
                return str(found["Id"])
            plan.say(what)
            sandbox = self._start(plan, below)
            try:
                self._give(sandbox, plan, {})
                self._run(sandbox, plan, what, script, arguments=arguments, env=env, blame=blame)
                self._exec(sandbox, ["rm", "-rf", scripts.SCRATCH], plan)
                return self._commit(sandbox, tag, plan, {})
            finally:
                self._end(sandbox)

    def _from_dockerfile(self, plan: Plan, text: str, archive: Path, directory: Path) -> tuple[str, bool]:
        """Return (the image of the task's own Dockerfile, whether its history must not be kept)."""
        build = dockerfiles.Build(plan)
        with self._lock:
            self._dockerfile = build
        self._check()
        flat = bool(plan.site.indexes or plan.site.proxies)
        try:
            image = build.run(text, archive, directory)
        except BaseException:
            if flat:
                build.forget()
            raise
        self._check()
        if flat:
            return image, True
        git = scripts.filled(scripts.PACKAGES)
        return self._layer(plan, below=image, what="Adding git", script=git, env={"ONESHOT_LANGUAGES": ""}), False

    # The repository and its set-up

    def _last_layer(self, plan: Plan, below: str, archive: Path, base: bytes, *, own: bool, flat: bool) -> Built:
        work = plan.environment["workdir"]
        env = self._variables(plan, below, own=own)
        sandbox = self._start(plan, below)
        try:
            self._give(sandbox, plan, {})
            if flat:
                self._run(sandbox, plan, "Adding git", scripts.filled(scripts.PACKAGES), env={"ONESHOT_LANGUAGES": ""})
            self._run(sandbox, plan, "Laying out the repository", scripts.filled(scripts.LAY_OUT), arguments=[work])
            with archive.open("rb") as file:
                layers.put_archive(sandbox, work, file)
            layers.put_archive(sandbox, "/opt/oneshot", base)
            own_git = scripts.filled(scripts.OWN_GIT)
            self._run(sandbox, plan, "Laying out the repository", own_git, arguments=[work])
            if lines := plan.environment["setup"]:
                plan.say("set-up of the task")
                self._run(
                    sandbox,
                    plan,
                    "The set-up of the task",
                    scripts.setup_script(lines),
                    env={"HOME": HOME, **env},
                    cwd=work,
                )
            finish = scripts.filled(scripts.FINISH + own_git + scripts.CLEAN_UP)
            self._run(sandbox, plan, "Finishing the image", finish, arguments=[work])
            self._look_for_secrets(sandbox, plan, work)
            tag = layers.tag_of(IMAGES, plan.digest)
            reference = self._flatten(sandbox, tag, plan, env) if flat else self._commit(sandbox, tag, plan, env)
        finally:
            self._end(sandbox)
            if flat and self._dockerfile:
                self._dockerfile.forget()
        found = layers.inspect(reference)
        return Built(reference=reference, size_bytes=found.get("Size") if found else None)

    def _variables(self, plan: Plan, below: str, *, own: bool) -> dict[str, str]:
        """Return the environment variables that the image keeps."""
        config = (layers.inspect(below) or {}).get("Config") or {}
        work = PurePosixPath(plan.environment["workdir"])
        for volume in config.get("Volumes") or {}:
            if PurePosixPath(volume) in (work, *work.parents):
                raise TaskError(
                    f"The image declares VOLUME {volume}, so nothing that is laid into {work} would be kept. "
                    "Take the VOLUME out, or name another environment.workdir."
                )
        kept = dict(item.partition("=")[::2] for item in config.get("Env") or [])
        path = kept.setdefault("PATH", layers.DEFAULT_PATH)
        if not own and "python" in plan.environment["languages"]:
            kept |= {"VIRTUAL_ENV": scripts.VENV, "PATH": f"{scripts.VENV}/bin:{path}"}
        return {**kept, **with_own_values(plan.environment["env"], kept)}

    def _look_for_secrets(self, sandbox: Sandbox, plan: Plan, work: str) -> None:
        """Refuse an image in which the set-up has written down what only the build may know."""
        if not plan.site.secrets:
            return
        self._exec(sandbox, ["mkdir", "-p", scripts.SCRATCH], plan)
        listed = "\n".join(plan.site.secrets).encode()
        script = scripts.filled(scripts.FIND_SECRETS)
        result = self._exec(sandbox, ["sh", "-c", script, "sh", work], plan, stdin=listed)
        self._exec(sandbox, ["rm", "-rf", scripts.SCRATCH], plan)
        if found := result.stdout.decode("utf-8", "replace").split("\n")[:-1]:
            raise TaskError(
                f"The set-up wrote the password of this site's package index into {', '.join(found)}. "
                "Let it read the variables PIP_INDEX_URL or npm_config_registry instead of keeping them."
            )

    # Steps

    def _start(self, plan: Plan, image: str) -> Sandbox:
        self._check()
        memory = max(int(plan.environment["memory_mb"]), settings.MEMORY_MB)
        limits = Limits(
            memory_mb=memory,
            cpus=max(float(plan.environment["cpus"]), settings.CPUS),
            pids=4096,
            disk_mb=max(int(plan.environment["disk_mb"]), settings.DISK_MB),
            lifetime_s=plan.timeout_s + MARGIN_S,
        )
        spec = SandboxSpec(image=image, labels=plan.labels, limits=limits, network="full", workdir="/", root=True)
        sandbox = sandboxes.get("docker").create(spec)
        with self._lock:
            self._sandboxes.append(sandbox)
        if self._stop.is_set():
            self._end(sandbox)
        self._check()
        return sandbox

    def _end(self, sandbox: Sandbox) -> None:
        with self._lock:
            if sandbox in self._sandboxes:
                self._sandboxes.remove(sandbox)
        sandbox.destroy()

    def _check(self) -> None:
        if self._stop.is_set():
            raise Stopped

    def _give(self, sandbox: Sandbox, plan: Plan, files: Mapping[str, bytes]) -> None:
        """Lay the trusted certificates into the container, where they stay until the image is kept."""
        given = {**files, **({"ca-bundle.pem": plan.site.bundle} if plan.site.bundle else {})}
        self._exec(sandbox, ["mkdir", "-p", scripts.SCRATCH], plan)
        if given:
            layers.put_archive(sandbox, scripts.SCRATCH, layers.tar_of(given))

    def _exec(self, sandbox: Sandbox, argv: Sequence[str], plan: Plan, stdin: bytes = b"") -> ExecResult:
        self._check()
        return sandbox.exec(argv, cwd="/", stdin=stdin, timeout_s=plan.timeout_s, root=True)

    def _run(
        self,
        sandbox: Sandbox,
        plan: Plan,
        what: str,
        script: str,
        *,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        blame: type[Fault] = TaskError,
    ) -> None:
        """Run a script to its end. Raises TaskError or InfraError with its last lines when it fails."""
        self._check()
        lines = Lines(plan.say)
        shell = ["sh", "-c", script, "sh", *arguments]
        if what.startswith("The set-up"):
            # The lines of a task are bash where there is bash, as people write them.
            shell = ["sh", "-c", 'if command -v bash >/dev/null; then exec bash -c "$0"; fi; exec sh -c "$0"', script]
        result = sandbox.exec(
            shell,
            cwd=cwd,
            env={**plan.site.variables(scripts.BUNDLE), **(env or {})},
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

    # Keeping

    def _commit(self, sandbox: Sandbox, tag: str, plan: Plan, env: Mapping[str, str]) -> str:
        """Keep the container's files as an image and return its id."""
        self._check()
        repository, _, name = tag.partition(":")
        client = engine.client()
        parameters: dict[str, Any] = {
            "container": sandbox.id,
            "repo": repository,
            "tag": name,
            "comment": "OneShot",
            "changes": "\n".join(layers.changes(plan, env)),
        }
        with engine.errors("The image cannot be kept"):
            # Through the client's own session, for a time limit that fits large images.
            answer = client.post(
                f"{client.base_url}/v{client.api_version}/commit", params=parameters, json={}, timeout=plan.timeout_s
            )
        if answer.status_code >= 400:
            raise InfraError(f"The image cannot be kept: {answer.text.strip()[:500]}")
        return str(answer.json()["Id"])

    def _flatten(self, sandbox: Sandbox, tag: str, plan: Plan, env: Mapping[str, str]) -> str:
        """Keep the container's files as an image of one layer without history, and return its id."""
        self._check()
        repository, _, name = tag.partition(":")
        client = engine.client()
        with engine.errors("The image cannot be kept"):
            pieces = client.export(sandbox.id)
            told = client.import_image_from_stream(
                pieces, repository=repository, tag=name, changes=layers.changes(plan, env)
            )
        found = layers.inspect(tag)
        if not found:
            raise InfraError(f"The image cannot be kept: {str(told)[-300:]}")
        return str(found["Id"])


def _text(value: object) -> str:
    return value if isinstance(value, str) and value.strip() else ""
