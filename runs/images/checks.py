"""Proves in a sandbox made from an image that nobody can read the answer there."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from oneshot import store
from runs import sandboxes
from runs.errors import InfraError
from runs.models import Image
from runs.sandboxes.base import Limits, Provider, Sandbox, SandboxSpec
from tasks import trees
from tasks.models import TaskVersion

OK, WARNING, FAILED = "ok", "warning", "failed"
TIMEOUT_S = 120
# Shorter lines, such as `return None`, are found anywhere by chance.
LEAST_LINE = 16
LONG_LINE = 40
MOST_LINES = 3000
# One line is found by chance in a file that somebody else wrote, such as an import; several are not.
TELLING_LINES = 3
# What others have published is installed there; a task's own answer is not.
INSTALLED = ("/site-packages/", "/dist-packages/", "/node_modules/")

GIT = """
for dir in "$1" "$2"; do
    export GIT_DIR="$dir" GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
    echo "commits $(git rev-list --all --count) $(git rev-parse HEAD)"
    for what in remote tag 'reflog --all' 'fsck --unreachable --no-reflogs'; do
        found=$(git $what 2>&1 | grep -v '^notice:' | head -n 3)
        [ -z "$found" ] || echo "found by git $what: $found"
    done
    all=$(git cat-file --batch-all-objects --batch-check='%(objectname)' | sort | tr '\\n' ' ')
    own=$(git rev-list --objects --all | cut -d' ' -f1 | sort -u | tr '\\n' ' ')
    [ "$all" = "$own" ] || echo "found objects that no commit leads to"
    refs=$(git for-each-ref --format='%(refname)' | grep -vx refs/heads/main | head -n 3)
    [ -z "$refs" ] || echo "found more references: $refs"
    [ ! -e "$dir/logs" ] || [ -z "$(find "$dir/logs" -type f)" ] || echo "found logs of references"
done
"""


def checks(
    version: TaskVersion, image: Image, provider: Provider, *, labels: dict[str, str] | None = None
) -> list[dict[str, Any]]:
    """Return what a look into a fresh sandbox of this image shows, as rows for a validation.

    Each row has name, status ("ok", "warning" or "failed"), evidence (a sentence) and seconds. Raises InfraError
    when the sandbox does not answer.
    """
    own = {"oneshot.instance": sandboxes.instance(), "oneshot.purpose": "build", "oneshot.run": ""}
    # An image may pass on the label of its own builder, who is gone: a sweep would take this sandbox for his.
    own["oneshot.image"] = ""
    spec = SandboxSpec(
        image=image.reference,
        labels=labels or own,
        limits=Limits(lifetime_s=4 * TIMEOUT_S),
        network="none",
        workdir=version.effective_environment()["workdir"],
    )
    sandbox = provider.create(spec)
    try:
        return [_one_commit(version, sandbox), _built(version, image), _no_answer(version, sandbox)]
    finally:
        sandbox.destroy()


def _row(name: str, status: str, evidence: str, started: float) -> dict[str, Any]:
    return {
        "name": name,
        "status": status,
        "evidence": evidence,
        "seconds": round(time.monotonic() - started, 3),
    }


def _one_commit(version: TaskVersion, sandbox: Sandbox) -> dict[str, Any]:
    started = time.monotonic()
    places = [f"{sandbox.workdir}/.git", sandbox.base_git]
    result = sandbox.exec(["sh", "-c", GIT, "sh", *places], timeout_s=TIMEOUT_S)
    lines = result.stdout.decode("utf-8", "replace").splitlines()
    if result.exit_code is None or not lines:
        words = result.stderr.decode("utf-8", "replace").strip()[-300:]
        raise InfraError(f"The history of the image could not be looked at. {words}".strip())
    wanted = f"commits 1 {version.snapshot_commit}"
    odd = [line for line in lines if line != wanted]
    if odd:
        return _row("Snapshot", FAILED, "; ".join(odd)[:500], started)
    evidence = f"One commit ({version.snapshot_commit[:12]}), no remote, tag or reflog, nothing unreachable"
    return _row("Snapshot", OK, evidence, started)


def _built(version: TaskVersion, image: Image) -> dict[str, Any]:
    environment = version.effective_environment()
    how = "the task's own Dockerfile" if environment["dockerfile"] else f"{environment['base_image']} and its set-up"
    if image.sandbox == "local":
        how = "this machine's own programs and its set-up"
    name = image.reference if image.reference.startswith("sha256:") else Path(image.reference).name
    known = image.started_at and image.finished_at
    seconds = (image.finished_at - image.started_at).total_seconds() if known else None  # type: ignore[operator]
    return {"name": "Image", "status": OK, "evidence": f"Built from {how}, {name[:19]}", "seconds": seconds}


def _no_answer(version: TaskVersion, sandbox: Sandbox) -> dict[str, Any]:
    """Look for lines that the reference diff adds and the base does not have, in the repository and beside it."""
    started = time.monotonic()
    name = "Answer not in the image"
    added = added_lines(version)
    if not added:
        return _row(name, OK, "The reference diff adds no line that could be told from others", started)
    inside = _search(sandbox, added, [sandbox.workdir])
    if found := [path for path in inside if not any(part in path for part in INSTALLED)]:
        return _row(name, FAILED, f"Lines of the reference diff stand in {', '.join(found[:5])}", started)
    long = sorted((line for line in added if len(line) >= LONG_LINE), key=len, reverse=True)[:50]
    elsewhere = _search(sandbox, long, [sandbox.home, sandbox.path("/opt"), "/usr/local/lib"]) if long else []
    elsewhere += inside
    if elsewhere:
        # A package of the same project may be installed for the tests; a curator has to look.
        return _row(name, WARNING, f"Lines of the reference diff stand in {', '.join(elsewhere[:5])}", started)
    return _row(name, OK, f"None of the {len(added)} telling lines that the reference diff adds is found", started)


def _search(sandbox: Sandbox, lines: list[str], places: list[str]) -> list[str]:
    """Return the files that hold at least TELLING_LINES of these lines, or as many as there are."""
    # Not grep -r, which small systems have without --exclude-dir.
    script = (
        'f=$(mktemp) && cat > "$f" && '
        'find "$@" -name .git -prune -o -type f -exec grep -cHF -f "$f" {} + 2>/dev/null | grep -v ":0$"; rm -f "$f"'
    )
    result = sandbox.exec(
        ["sh", "-c", script, "sh", *places], stdin="\n".join(lines).encode() + b"\n", timeout_s=TIMEOUT_S
    )
    if result.exit_code is None:
        raise InfraError("The image could not be searched for the answer in time.")
    counted = (line.rpartition(":") for line in result.stdout.decode("utf-8", "replace").splitlines())
    least = min(TELLING_LINES, len(lines))
    return [path for path, _, count in counted if count.isdigit() and int(count) >= least]


def added_lines(version: TaskVersion) -> list[str]:
    """Return the lines that the reference diff adds, without those too short to tell, or that the base has anywhere."""
    added = {
        line[1:].strip()
        for line in version.reference_diff().decode("utf-8", "replace").split("\n")
        if line.startswith("+") and not line.startswith("+++ ")
    }
    wanted = {line for line in added if len(line) >= LEAST_LINE}
    if not wanted or not version.snapshot_digest:
        return sorted(wanted)
    with tempfile.TemporaryDirectory(prefix="oneshot-check-") as directory:
        archive = Path(directory) / "base.tar"
        store.get_file(version.snapshot_digest, archive)
        with trees.open_archive(archive) as opened:
            for member in opened:
                source = opened.extractfile(member) if member.isreg() else None
                text = source.read().decode("utf-8", "replace") if source else ""
                wanted -= {line for line in wanted if line in text}
    return sorted(wanted)[:MOST_LINES]
