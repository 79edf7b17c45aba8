"""Fetches what a task is based on, once per repository: bare mirrors in the data directory, one per address."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from django.conf import settings

from oneshot.errors import Fault, InfraError, TaskError
from tasks.formats.repositories import fault_of_url
from tasks.gitcommand import Alive, GitResult, git
from traces.redaction import redact

Log = Callable[[str, str], None]
"""Called with (source, text of whole lines)."""

FETCH_TIMEOUT_S = 1800
LOCK_POLL_S = 0.1
ANY_ID = re.compile(r"[0-9a-f]{4,64}")
TAGS = "+refs/tags/*:refs/tags/*"
FULL_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

# What git and its helpers say, by whose fault it is. The first that is found decides.
NO_DISK = re.compile(r"No space left on device|Disk quota exceeded", re.I)
NO_ACCESS = re.compile(
    r"Authentication failed|could not read (Username|Password)|terminal prompts disabled|Permission denied \("
    r"|Host key verification failed|HTTP 40[13]|returned error: 40[13]|access denied",
    re.I,
)
NOT_THERE = re.compile(
    r"Repository not found|does not appear to be a git repository|No such file or directory|not found|does not exist"
    r"|returned error: 404",
    re.I,
)
NO_NETWORK = re.compile(
    r"Could not resolve host|Temporary failure in name resolution|Connection (refused|reset|timed out|closed)"
    r"|timed out|Network is unreachable|No route to host|SSL|certificate|unable to access|returned error: 5\d\d"
    r"|early EOF|RPC failed|remote end hung up|Proxy|ssh: not found|cannot run ssh",
    re.I,
)
NOT_PUBLISHED = re.compile(
    r"not our ref|couldn't find remote ref|unadvertised object|no such remote ref|upload-pack: not our ref"
    r"|bad object|did not send all necessary objects|Server does not allow request",
    re.I,
)


@contextlib.contextmanager
def locked(name: str, alive: Alive = lambda: None) -> Iterator[None]:
    """Hold the lock `name` among the processes of this machine; waits for it, calling `alive` meanwhile."""
    path = Path(settings.DATA_DIR) / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                alive()
                time.sleep(LOCK_POLL_S)
        yield


class Mirror:
    """The objects of one repository, kept on this machine. Use it with `locked(mirror.name)` held."""

    def __init__(self, url: str) -> None:
        if fault := fault_of_url(url):
            raise TaskError(f"The repository of the task, {redact(url) or 'which is empty'}, cannot be used. {fault}")
        self.url = url
        self.name = f"mirror-{hashlib.sha256(url.encode()).hexdigest()[:32]}"
        self.path = Path(settings.DATA_DIR) / "repositories" / f"{self.name}.git"
        self.shown = redact(url)

    def obtain(self, commit: str, branch: str, log: Log, alive: Alive) -> str:
        """Return the full id of the commit, fetching it when it is not here yet.

        `commit` may be "HEAD" (the tip of `branch`, or of the repository's own default) or an abbreviated id.
        Raises TaskError when the repository or the commit does not exist, InfraError when it cannot be reached.
        """
        self._make()
        wanted = commit or "HEAD"
        if wanted != "HEAD" and not ANY_ID.fullmatch(wanted):
            raise TaskError(f"{wanted!r} is no commit id. Correct repo.start_commit_sha of the task.")
        if wanted != "HEAD" and (found := self._resolve(wanted)):
            log("build", f"repository {self.shown} at {found[:12]}, already here")
            return found
        log("build", f"fetching {wanted[:12]} of {self.shown}")
        started = time.monotonic()
        found = self._fetch(wanted, branch, log, alive)
        git(["update-ref", f"refs/oneshot/{found}", found], directory=self.path)
        log("build", f"fetched {found[:12]} in {time.monotonic() - started:.1f} s")
        return found

    def _make(self) -> None:
        if (self.path / "HEAD").exists():
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".new-") as directory:
            fresh = Path(directory) / "mirror.git"
            result = git(["init", "--quiet", "--bare", "--template=", str(fresh)])
            if not result.ok:
                raise InfraError(f"A mirror could not be made in {self.path.parent}: {result.stderr.strip()}")
            with contextlib.suppress(FileExistsError):
                fresh.rename(self.path)

    def _resolve(self, name: str) -> str:
        result = git(
            ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"], directory=self.path
        )
        found = result.stdout.decode().strip() if result.ok else ""
        # A commit can be here without its tree when a fetch was killed half-way.
        whole = found and git(["cat-file", "-e", f"{found}^{{tree}}"], directory=self.path).ok
        return found if whole else ""

    def _fetch(self, wanted: str, branch: str, log: Log, alive: Alive) -> str:
        if wanted == "HEAD":
            return self._fetch_tip(branch, alive)
        first = ""
        if FULL_ID.fullmatch(wanted):
            result = self._run_fetch(["--depth=1"], [wanted], alive)
            if result.ok and (found := self._resolve(wanted)):
                return found
            first = result.stderr
            if not NOT_PUBLISHED.search(first) and not _is_bundle(self.url):
                raise self.fault(result)
            log("build", "the server does not give single commits; fetching its branches and tags")
        for spec in ("refs/heads/*", "refs/tags/*", "refs/*"):
            # Commits that came singly end the mirror's history; the rest of it is asked for now.
            deeper = ["--unshallow"] if (self.path / "shallow").exists() else []
            options = ["--force", "--update-shallow", *deeper]
            result = self._run_fetch(options, [f"+{spec}:refs/mirror/{spec[5:-1]}*"], alive)
            if result.ok and (found := self._resolve(wanted)):
                return found
            if not result.ok and spec == "refs/heads/*":
                raise self.fault(result)
        raise TaskError(self._missing(wanted))

    def _fetch_tip(self, branch: str, alive: Alive) -> str:
        names = [f"refs/heads/{branch}", f"refs/tags/{branch}"] if branch else ["HEAD"]
        result = GitResult(1, b"", "")
        for name in names:
            result = self._run_fetch(["--depth=1"], [name], alive)
            if result.ok:
                return self._resolve("FETCH_HEAD")
        if branch and NOT_PUBLISHED.search(result.stderr):
            raise TaskError(f"The repository {self.shown} has no branch or tag {branch!r}. Correct repo.branch.")
        raise self.fault(result)

    def _run_fetch(self, options: list[str], specs: list[str], alive: Alive) -> GitResult:
        words = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", *options]
        if specs == ["HEAD"] or specs[0].startswith("refs/"):
            words.remove("--no-write-fetch-head")
        result = self._try_fetch(words, self.url, specs, alive)
        if not result.ok and NO_ACCESS.search(result.stderr) and (public := _public_form(self.url)):
            # A public repository is often named by its owner's ssh address, which nobody else has a key for.
            over_https = self._try_fetch(words, public, specs, alive)
            if over_https.ok or NOT_PUBLISHED.search(over_https.stderr):
                return over_https
        return result

    def _try_fetch(self, words: list[str], url: str, specs: list[str], alive: Alive) -> GitResult:
        return git(
            [*words, "--end-of-options", url, *specs],
            directory=self.path,
            timeout_s=FETCH_TIMEOUT_S,
            alive=alive,
            with_users_config=True,
        )

    def _missing(self, wanted: str) -> str:
        local = _local_path(self.url)
        if local and git(["rev-parse", "--is-shallow-repository"], directory=_git_dir(local)).stdout.strip() == b"true":
            return (
                f"The commit {wanted} is not in {self.shown}, which is a shallow clone. "
                "Run `git fetch --unshallow` there, then prepare the task again."
            )
        return (
            f"The commit {wanted} is not in {self.shown}: no branch, tag or other reference leads to it. "
            "Push it, or correct repo.start_commit_sha of the task."
        )

    def fault(self, result: GitResult) -> Fault:
        """Return the error for a fetch that failed, with whose fault it is and the mend."""
        words = redact(" ".join(result.stderr.split()))[-600:]
        if result.exit_code is None:
            return InfraError(f"{self.shown} could not be fetched within {FETCH_TIMEOUT_S} s. {words}".strip())
        if NO_DISK.search(words):
            return InfraError(f"There is no space left for {self.shown} in {self.path.parent}. Free some. {words}")
        if _local_path(self.url) and NOT_THERE.search(words):
            return TaskError(f"There is no git repository at {self.shown}. Correct repo.git_url of the task. {words}")
        if NO_ACCESS.search(words):
            return InfraError(
                f"This installation may not read {self.shown}, or there is no such repository. Give the user that runs "
                f"OneShot an SSH key or a git credential helper for it, or correct repo.git_url. git says: {words}"
            )
        if re.search(r"certificate", words, re.I):
            return InfraError(
                f"The certificate of {self.shown} is not trusted here. Set ONESHOT_EXTRA_CA or git's http.sslCAInfo "
                f"to the file of your certificate authority. git says: {words}"
            )
        if NO_NETWORK.search(words):
            return InfraError(f"{self.shown} cannot be reached from here. Check the network. git says: {words}")
        if NOT_THERE.search(words):
            return TaskError(
                f"There is no repository at {self.shown}. Correct repo.git_url of the task. git says: {words}"
            )
        return InfraError(f"{self.shown} could not be fetched. git says: {words}")

    def version_at(self, commit: str, alive: Alive) -> str:
        """Return the project's version at the commit as its tags tell it, such as 4.2 or 4.2.1.dev13; "" if unknown.

        Fetches the history without its trees into a place of its own, since the mirror may know single commits only.
        """
        with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".history-") as directory:
            history = Path(directory)
            if not git(["init", "--quiet", "--bare", "--template=", str(history)]).ok:
                return ""
            fetched = git(
                ["fetch", "--quiet", "--filter=tree:0", "--end-of-options", self.url, commit, TAGS],
                directory=history,
                timeout_s=FETCH_TIMEOUT_S,
                alive=alive,
                with_users_config=True,
            )
            if not fetched.ok:
                return ""
            described = git(["describe", "--tags", "--long", "--match=*[0-9].[0-9]*", commit], directory=history)
        return _version_of(described.stdout.decode("utf-8", "replace").strip()) if described.ok else ""


def _version_of(described: str) -> str:
    """Return the version of `git describe --long`'s answer (TAG-DISTANCE-gID), made as setuptools_scm guesses it."""
    tag, _, rest = described.rpartition("-g")[0].rpartition("-")
    match = re.search(r"(\d+(?:\.\d+)+)((?:a|b|rc|\.post|\.dev)\d+)?$", tag.replace("-", "").replace("_", "."))
    if not match or not rest.isdecimal():
        return ""
    if rest == "0":
        return match[1] + (match[2] or "")
    parts = match[1].split(".")
    return ".".join([*parts[:-1], str(int(parts[-1]) + 1)]) + f".dev{rest}"


def _public_form(url: str) -> str:
    """Return the https address of an ssh one, or ""."""
    if url.startswith("ssh://"):
        parts = urlsplit(url)
        return f"https://{parts.hostname}{parts.path}" if parts.port in (None, 22) else ""
    match = re.fullmatch(r"[^/:@]+@([^/:@]+):([^/].*)", url)
    return f"https://{match[1]}/{match[2]}" if match else ""


def _local_path(url: str) -> Path | None:
    if url.startswith("file:"):
        return Path(urlsplit(url).path)
    return Path(url) if url.startswith("/") else None


def _git_dir(path: Path) -> Path:
    return path / ".git" if (path / ".git").exists() else path


def _is_bundle(url: str) -> bool:
    path = _local_path(url)
    return path is not None and os.path.isfile(path)  # noqa: PTH113 - a Path's is_file raises on some names
