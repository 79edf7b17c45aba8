"""Puts one grading together: the files that go into the sandbox, and the one shell script that does everything there.

The script is given as an argument, so that no file of it can be changed while it runs. Its standard output leaves
the sandbox as it is written; what the tests print goes to standard error. Any image with sh and git will do.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runs.grading.channel import Secrets
from runs.grading.protected import SHARED_CONFIG, Guard
from tasks.patches import touched_paths

# A test that hangs is failed by itself after this time, or a third of the whole, and the others get their turn.
LONGEST_TEST_S = 180.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be graded, and how. Paths in `test_files` are relative to the repository.

    `diff` is the agent's without its protected files. `directory` is a place inside the sandbox, outside of the
    repository, whose name nobody can foretell.
    """

    environment: Mapping[str, Any]
    guard: Guard
    diff: bytes
    reference: bytes
    hidden: Mapping[str, bytes]
    root: str
    directory: str
    timeout_s: float
    # What the tests' order is shuffled by; None leaves them in their own order.
    order_seed: int | None = None
    tokens: Secrets = field(default_factory=Secrets)

    @property
    def test_files(self) -> list[str]:
        """Return the files in which the tests that matter most may stand, wherever the suite usually looks."""
        of_reference = [path for part in self.guard.tests_of_reference(self.reference) for path in touched_paths(part)]
        return list(dict.fromkeys([*self.hidden, *of_reference]))

    def files(self) -> dict[str, bytes]:
        """Return what every framework needs, by its path below `directory`."""
        files = {f"hidden/{path}": data for path, data in self.hidden.items()}
        for number, part in enumerate(self.guard.tests_of_reference(self.reference)):
            files[f"tests/{number:04}.diff"] = part
        for number, part in enumerate(self.guard.config_of_reference(self.reference)):
            files[f"config-diffs/{number:04}.diff"] = part
        if self.diff.strip():
            files["agent.diff"] = self.diff
        return files

    def runner_plan(self, **more: Any) -> bytes:
        """Return plan.json, which the runners in `inside/` read; `more` is for one of them."""
        touched = {*touched_paths(self.diff), *touched_paths(self.reference)}
        document = {
            "root": self.root,
            "test_files": self.test_files,
            "replace_config": [name for name in SHARED_CONFIG if name in touched],
            "longest_test_s": min(LONGEST_TEST_S, self.timeout_s / 3),
            "config_name": f".oneshot-{secrets.token_hex(6)}",
            "order_seed": self.order_seed,
            **more,
        }
        return json.dumps(document).encode()

    def argv(self, run_tests: str) -> list[str]:
        """Return the command line, around a framework's own lines of shell."""
        return ["sh", "-c", SCRIPT.replace("@RUN_TESTS@", run_tests), "oneshot-grade", self.directory]


# The braces make the shell read all of it before it begins. Whatever leaves through standard output is prefixed with
# a token that stands in no file, environment or argument.
SCRIPT = """{
IFS= read -r begun; IFS= read -r ended; IFS= read -r key
exec </dev/null
dir=$1
umask 022

stop() { printf '%s %s\\n' "$begun" "$1"; [ -f "$dir/words" ] && cat "$dir/words"; exit 0; }
patch() {
    GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null LC_ALL=C \\
        git -c safe.directory='*' -c core.autocrlf=false -c core.hooksPath=/dev/null -c core.fsmonitor=false \\
        apply --binary --whitespace=nowarn "$@" 2>"$dir/words"
}
hidden() { [ ! -d "$dir/hidden" ] || cp -R "$dir/hidden/." . 2>"$dir/words" || stop tests; }

command -v git >/dev/null || stop git
for part in "$dir"/tests/*.diff; do
    [ ! -f "$part" ] || patch "$part" || stop tests
done
hidden
mkdir -p "$dir/config"
for name in pytest.toml .pytest.toml pytest.ini .pytest.ini pyproject.toml tox.ini setup.cfg; do
    [ ! -f "$name" ] || cp "$name" "$dir/config/$name"
done
for part in "$dir"/config-diffs/*.diff; do
    [ ! -f "$part" ] || (cd "$dir/config" && GIT_CEILING_DIRECTORIES=$dir patch "$part") || stop tests
done
if [ -f "$dir/agent.diff" ]; then
    patch "$dir/agent.diff" || { cp "$dir/words" "$dir/words-1"; patch --3way "$dir/agent.diff"; } ||
        { cat "$dir/words-1" >>"$dir/words"; stop patch; }
fi
hidden
rm -f "$dir/words" "$dir/agent.diff"
rm -rf "$dir/tests" "$dir/config-diffs" "$dir/hidden"
@RUN_TESTS@
# A sandbox looks for the limit that was hit only when its command ends badly.
[ "$status" -lt 128 ] || exit "$status"
exit 0
}"""
