"""The base of a task version: its repository at one commit, as one archive that says nothing of what came later."""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings

from oneshot import store
from oneshot.errors import InfraError, TaskError
from tasks import python_projects, trees
from tasks.actions import complete_hidden_tests
from tasks.detection import View, detect
from tasks.formats.repositories import fault_of_url
from tasks.gitcommand import Alive, git
from tasks.models import TaskVersion
from tasks.patches import mailbox_diffs
from tasks.repositories import Log, Mirror, locked
from tasks.trees import Entry

# The base commit is the same everywhere: it depends on the tree alone.
IDENTITY = b"OneShot <base@oneshot.invalid> %d +0000" % trees.TIME
MESSAGE = b"base\n"
BRANCH = "main"
# Attributes of a repository may ask git to change what it reads and writes; the base is kept byte for byte.
ATTRIBUTES = "* -text -ident -filter -working-tree-encoding !eol !diff !merge\n"

FILLED = ["snapshot_digest", "snapshot_commit", "detected_environment"]


def ensure_snapshot(version: TaskVersion, log: Log, alive: Alive = lambda: None) -> None:
    """Fetch, choose and keep the base of a version, unless that was done before. Safe to call from many processes.

    Fills snapshot_digest, snapshot_commit and detected_environment, and brings the paths of the reference diff
    and of the hidden tests to those of a sub-directory that the task works in. Raises TaskError or InfraError.
    """
    if version.snapshot_digest and store.has(version.snapshot_digest):
        return
    with locked(f"snapshot-{version.pk}", alive):
        version.refresh_from_db(fields=[*FILLED, "reference_diff_digest", "hidden_tests", "overlay_files"])
        if not version.snapshot_digest or not store.has(version.snapshot_digest):
            _Snapshot(version, log, alive).make()


def keep_base(
    version: TaskVersion,
    repository: Path,
    commit: str,
    tree: str = "",
    log: Log = lambda source, text: None,
    alive: Alive = lambda: None,
) -> None:
    """Keep the base of a version from a commit of a git directory of this machine, which is only read.

    Afterwards nothing depends on that repository. Does nothing when the base is kept already. `tree` is the commit's,
    when git itself has written it from an index: it spares a second look at every file. Raises TaskError for a tree
    that no checkout could have, InfraError.
    """
    with locked(f"snapshot-{version.pk}", alive):
        version.refresh_from_db(fields=[*FILLED, "reference_diff_digest", "hidden_tests", "overlay_files"])
        if not version.snapshot_digest or not store.has(version.snapshot_digest):
            _Snapshot(version, log, alive).make_from(repository, commit, tree)


class _Snapshot:
    def __init__(self, version: TaskVersion, log: Log, alive: Alive) -> None:
        self.version = version
        self.repo: dict[str, Any] = version.repo or {}
        self.log = log
        self.alive = alive
        self.mirror: Mirror | None = None
        self.git_dir: Path | None = None
        self.source = ""

    def make(self) -> None:
        url = str(self.repo.get("git_url") or "")
        if not url and not self.version.overlay_files:
            raise TaskError("The task names no repository and brings no files. Set repo.git_url.")
        scratch = Path(settings.DATA_DIR) / "repositories"
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=scratch, prefix=".snapshot-") as directory:
            archive = Path(directory) / "base.tar"
            if url:
                self.mirror = Mirror(url)
                with locked(self.mirror.name, self.alive):
                    self._from_repository(archive)
            else:
                self._write(archive, [])
            self._keep(archive, Path(directory))

    def make_from(self, repository: Path, commit: str, tree: str) -> None:
        scratch = Path(settings.DATA_DIR) / "repositories"
        scratch.mkdir(parents=True, exist_ok=True)
        # Its tags are asked for where the project takes its version from them.
        self.mirror = None if fault_of_url(str(repository)) else Mirror(str(repository))
        self.git_dir, self.source = repository, commit
        with tempfile.TemporaryDirectory(dir=scratch, prefix=".snapshot-") as directory:
            archive = Path(directory) / "base.tar"
            entries = trees.entries_of(repository, commit, self.alive)
            self._write(archive, entries)
            # A base has neither submodules nor another kind of ids.
            same = len(tree) == 40 and not any(entry.kind == "module" for entry in entries)
            self._keep(archive, Path(directory), base_commit_of(tree) if same else "")

    def _from_repository(self, archive: Path) -> None:
        mirror = self.mirror
        assert mirror is not None  # noqa: S101 - for the type checker
        self.git_dir = mirror.path
        known = (self.version.detected_environment or {}).get("source_commit")
        commit = known or str(self.repo.get("start_commit_sha") or "HEAD")
        self.source = mirror.obtain(commit, str(self.repo.get("branch") or ""), self.log, self.alive)
        entries = trees.entries_of(mirror.path, self.source, self.alive)
        if patterns := [str(pattern) for pattern in self.repo.get("sparse_checkout") or []]:
            total = len(entries)
            entries = trees.sparse(entries, patterns)
            self.log("build", f"sparse checkout: {len(entries)} of {total} files")
        if removed := [str(pattern) for pattern in self.repo.get("remove_paths") or []]:
            total = len(entries)
            entries = trees.without(entries, removed)
            self.log("build", f"the task takes {total - len(entries)} of {total} files out of its base")
        if subdir := str(self.repo.get("subdir") or "").strip("/"):
            entries = trees.below(entries, subdir)
            self._move_into(subdir, mirror.path)
        self._write(archive, entries)

    def _move_into(self, subdir: str, git_dir: Path) -> None:
        """Bring everything that names paths of the whole repository to the sub-directory the task works in."""
        version = self.version
        if diff := version.reference_diff():
            moved = _relative_diff(diff, git_dir, self.source, subdir)
            if moved is not None and moved != diff:
                self.log("build", f"reference diff: brought to paths below {subdir}")
                version.reference_diff_digest = store.put(moved) if moved else ""
        prefix = subdir + "/"
        for field in ("hidden_tests", "overlay_files"):
            moved_files = [
                {**item, "path": item["path"].removeprefix(prefix)} for item in getattr(version, field) or []
            ]
            setattr(version, field, moved_files)

    def _write(self, archive: Path, entries: list[Entry]) -> None:
        overlay = [_overlay_entry(item) for item in self.version.overlay_files or []]
        replaced = {entry.path for entry in overlay}
        entries = [entry for entry in entries if entry.path not in replaced] + overlay
        trees.check(entries)
        if modules := [entry.path for entry in entries if entry.kind == "module"]:
            self.log("build", f"submodules are left out, their directories are empty: {', '.join(modules[:20])}")
        pointers = trees.write_archive(archive, entries, self.git_dir, self.alive)
        if pointers:
            self.log("build", f"{pointers} files are kept by Git LFS; the base has their pointers, not their content")
        total = sum(entry.size for entry in entries)
        self.log("build", f"snapshot: {len(entries)} files, {total / 1e6:.1f} MB")

    def _keep(self, archive: Path, scratch: Path, commit: str = "") -> None:
        version = self.version
        version.snapshot_commit = commit or make_base_repository(archive, scratch / "base.git", self.alive)
        version.snapshot_digest = store.put_file(archive)
        with trees.open_archive(archive) as opened:
            tree = ArchiveTree(opened)
            for problem in complete_hidden_tests(version, tree.get):
                self.log("build", f"hidden tests: {problem.message}")
            version.detected_environment = self._detect(tree)
        version.save(
            update_fields=[*FILLED, "reference_diff_digest", "hidden_tests", "overlay_files"],
        )
        self.log("build", f"base commit {version.snapshot_commit[:12]}")

    def _detect(self, tree: ArchiveTree) -> dict[str, Any]:
        hidden = {path: data for path, data in self.version.hidden_test_files().items() if not path.endswith("/")}
        told = ""
        if self.mirror and python_projects.reads_version_from_tags(View(tree, {})):
            told = self.mirror.version_at(self.source, self.alive)
        found = detect(tree, version=told, hidden_tests=hidden)
        for guess in found["guesses"]:
            self.log("build", f"guess: {guess}")
        return {**found, **({"source_commit": self.source} if self.source else {})}


class ArchiveTree:
    """The files of a snapshot, read as they are asked for."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._members = {member.name: member for member in archive if member.isreg()}
        self.paths = sorted(self._members)

    def get(self, path: str) -> bytes | None:
        """Return a regular file, or None when the base has none at this path."""
        member = self._members.get(path)
        source = self._archive.extractfile(member) if member else None
        return source.read() if source else None

    def read(self, path: str) -> bytes:
        return self.get(path) or b""


def _overlay_entry(item: dict[str, Any]) -> Entry:
    data = store.get(item["digest"])
    mode = item.get("mode") or 0
    bits = int(str(mode), 8) if isinstance(mode, str) else int(mode)
    return Entry(str(item["path"]), "file", bool(bits & 0o111), "", len(data), data)


def _relative_diff(diff: bytes, git_dir: Path, commit: str, subdir: str) -> bytes | None:
    """Return a diff of the whole repository as one of `subdir`; None when it does not apply to the whole.

    What it changes elsewhere is left out. One that names paths of the sub-directory already does not apply above it.
    """
    with tempfile.TemporaryDirectory(prefix="oneshot-diff-") as directory:
        scratch = Path(directory)
        (scratch / "objects").mkdir()
        env = {
            "GIT_INDEX_FILE": str(scratch / "index"),
            "GIT_OBJECT_DIRECTORY": str(scratch / "objects"),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(git_dir / "objects"),
        }
        if not git(["read-tree", commit], directory=git_dir, env=env).ok:
            return None
        apply = ["apply", "--cached", "--whitespace=nowarn", "-"]
        if not all(git(apply, directory=git_dir, env=env, stdin=part).ok for part in mailbox_diffs(diff)):
            return None
        words = ["diff-index", "--cached", "--binary", "--full-index", "-M", "-p", f"--relative={subdir}", commit]
        result = git(words, directory=git_dir, env=env)
        return result.stdout if result.ok else None


def make_base_repository(archive: Path, directory: Path, alive: Alive = lambda: None) -> str:
    """Make a bare repository at `directory` whose one commit is the archive's tree, and return the commit's id.

    The same archive gives the same id on every machine. There is no remote, tag, reflog or other object.
    """
    stream = directory.with_suffix(".import")
    try:
        _write_import_stream(archive, stream)
        made = git(["init", "--quiet", "--bare", "--template=", f"--initial-branch={BRANCH}", str(directory)])
        imported = git(
            ["fast-import", "--quiet", "--done"], directory=directory, stdin=stream, timeout_s=900, alive=alive
        )
        found = git(["rev-parse", "--verify", f"refs/heads/{BRANCH}"], directory=directory)
    finally:
        stream.unlink(missing_ok=True)
    if not (made.ok and imported.ok and found.ok):
        raise InfraError(f"The base could not be committed: {(made.stderr + imported.stderr).strip()[-400:]}")
    (directory / "info").mkdir(exist_ok=True)
    (directory / "info" / "attributes").write_text(ATTRIBUTES, encoding="ascii")
    return found.stdout.decode().strip()


def base_commit_of(tree: str) -> str:
    """Return the id of the commit that `make_base_repository` makes of this tree."""
    body = b"tree %s\nauthor %s\ncommitter %s\n\n%s" % (tree.encode(), IDENTITY, IDENTITY, MESSAGE)
    return hashlib.sha1(b"commit %d\0" % len(body) + body, usedforsecurity=False).hexdigest()


def _write_import_stream(archive: Path, target: Path) -> None:
    with trees.open_archive(archive) as opened, target.open("wb") as stream:
        stream.write(b"commit refs/heads/%s\nauthor %s\ncommitter %s\n" % (BRANCH.encode(), IDENTITY, IDENTITY))
        stream.write(b"data %d\n%s" % (len(MESSAGE), MESSAGE))
        for member in opened:
            if member.isdir():
                continue
            source = opened.extractfile(member) if member.isreg() else None
            data = source.read() if source else member.linkname.encode("utf-8", "surrogateescape")
            mode = b"120000" if member.issym() else b"100755" if member.mode & 0o111 else b"100644"
            stream.write(b"M %s inline %s\ndata %d\n" % (mode, _quoted(member.name), len(data)))
            stream.write(data)
            stream.write(b"\n")
        stream.write(b"done\n")


def _quoted(path: str) -> bytes:
    """Return a path as fast-import reads it: in quotes, with everything unusual as an octal escape."""
    raw = path.encode("utf-8", "surrogateescape")
    plain = (bytes([byte]) if 32 <= byte < 127 and byte not in b'"\\' else b"\\%03o" % byte for byte in raw)
    return b'"' + b"".join(plain) + b'"'
