"""Collects what an agent changed, from outside of its reach: against a git directory that it cannot write.

Whatever the agent did to its own `.git` (commits, rebases, deletion, hooks, filters) makes no difference.
"""

import shlex

from runs.errors import InfraError, TaskError
from runs.sandboxes.base import Sandbox

LARGEST_DIFF = 50_000_000
TIMEOUT_S = 300

SCRIPT = """
set -e
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export GIT_DIR={base} GIT_WORK_TREE={work} GIT_INDEX_FILE="$scratch/index"
mkdir "$scratch/objects"
export GIT_OBJECT_DIRECTORY="$scratch/objects" GIT_ALTERNATE_OBJECT_DIRECTORIES={base}/objects
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_ATTR_NOSYSTEM=1 LC_ALL=C
cd {work}
if [ -f {base}/index ]; then cp {base}/index "$scratch/index"; else git read-tree HEAD; fi
plain="-c core.autocrlf=false -c core.fsmonitor=false -c core.excludesFile=/dev/null -c core.trustctime=false"
plain="$plain -c core.checkStat=minimal -c core.hooksPath=/dev/null -c core.quotePath=true"
git $plain -c advice.addEmbeddedRepo=false add --all . 2>&1 | head -c 2000 >&2
git $plain diff --cached --binary --full-index -M --no-ext-diff --no-textconv --no-color HEAD
"""


class DiffTooLarge(Exception):
    """The agent's changes are larger than anything that can be graded."""


def collect_diff(sandbox: Sandbox) -> bytes:
    """Return the binary diff of the working tree against the base; b"" when nothing changed.

    New files count, ignored files don't. Raises DiffTooLarge, or InfraError when the sandbox does not answer.
    """
    script = SCRIPT.format(base=shlex.quote(sandbox.base_git), work=shlex.quote(sandbox.workdir))
    result = sandbox.exec(["sh", "-c", script], timeout_s=TIMEOUT_S, max_output_bytes=LARGEST_DIFF)
    if result.truncated:
        raise DiffTooLarge(f"The diff is over {LARGEST_DIFF // 1_000_000} MB.")
    if result.exit_code == 127:
        raise TaskError("The image has no git, so nothing can be collected. Add git to the packages of the task.")
    if result.exit_code != 0:
        words = result.stderr.decode("utf-8", "replace").strip()[-500:]
        ended = "did not end in time" if result.timed_out else f"ended with exit status {result.exit_code}"
        raise InfraError(f"Collecting the diff {ended}. {words}".strip())
    return result.stdout
