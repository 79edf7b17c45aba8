"""Codex gets onto a host by npm, once, whoever asks at the same time. npm here is a script that does the least."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from runs.agents import npm as npm_packages
from runs.agents.codex.installation import CODEX, TARGETS
from runs.errors import AgentError, InfraError

NPM = """#!/bin/sh
echo "$@" >> "{calls}"
case "$1" in
view) echo 1.2.3 ;;
root) echo /nowhere ;;
install)
  for word; do case "$word" in --prefix=*) prefix=${{word#--prefix=}} ;; *@*) package=$word ;; esac; done
  case "$package" in
  *@7.7.7) echo "npm error code ETARGET" >&2; exit 1 ;;
  *@8.8.8) echo "npm error code ENOTFOUND" >&2; exit 1 ;;
  *@9.9.9) exit 0 ;;
  esac
  root="$prefix/node_modules/@openai/codex-linux-{cpu}/vendor/any"
  mkdir -p "$root/bin"
  printf '{{"version": "%s", "target": "{target}-unknown-linux-musl"}}' "${{package##*@}}" > "$root/codex-package.json"
  printf '#!/bin/sh\\n' > "$root/bin/codex"
  chmod 700 "$root/bin/codex"
  sleep 0.2
esac
"""


@pytest.fixture
def npm(tmp_path, monkeypatch, settings):
    """Put the script first on an otherwise usual PATH without Codex; return how often it was called for what."""
    settings.DATA_DIR, settings.CODEX_HOME_DIR = tmp_path / "data", ""
    calls = tmp_path / "calls"
    cpu = npm_packages.CPUS[os.uname().machine]
    script = tmp_path / "npm"
    script.write_text(NPM.format(calls=calls, cpu=cpu, target=TARGETS[cpu]))
    script.chmod(0o755)
    usual = npm_packages.shutil.which

    def which(name):
        return {"npm": str(script), "codex": None}.get(name, usual(name))

    monkeypatch.setattr(npm_packages.shutil, "which", which)
    monkeypatch.setattr(npm_packages, "global_root", lambda: "")
    return lambda what: sum(line.startswith(what) for line in calls.read_text().splitlines())


def quiet(source, text):
    """A log that nobody reads."""


def test_many_who_ask_at_once_install_it_once(npm):
    assert CODEX.problem("1.2.3") == ""
    with ThreadPoolExecutor(3) as pool:
        found = set(pool.map(lambda _: CODEX.obtain("1.2.3", quiet), range(3)))
    assert [one.version for one in found] == ["1.2.3"]
    assert npm("install") == 1
    # The sandbox's user is another one: what a strict umask hid can be read by all.
    assert (found.pop().root / "bin" / "codex").stat().st_mode & 0o777 == 0o755


def test_each_version_has_its_own_place(npm):
    first, second = (CODEX.obtain(version, quiet) for version in ("1.2.3", "1.10.0"))
    assert first.root != second.root
    assert CODEX.find("1.2.3") == first
    assert CODEX.newest_version() == "1.10.0"
    assert npm("view") == 0


def test_without_one_the_newest_of_npm_is_named(npm):
    assert CODEX.newest_version() == "1.2.3"
    assert CODEX.find() is None


@pytest.mark.parametrize(
    ("version", "error", "says"),
    [
        ("7.7.7", AgentError, "ETARGET"),
        ("8.8.8", InfraError, "did not reach its registry"),
        ("9.9.9", AgentError, "holds no native package"),
        ("../../etc", AgentError, "is no version of Codex"),
        ("--global", AgentError, "is no version of Codex"),
    ],
)
def test_what_goes_wrong_is_told_and_leaves_nothing_behind(npm, settings, version, error, says):
    with pytest.raises(error, match=says):
        CODEX.obtain(version, quiet)
    assert [path.name for path in (settings.DATA_DIR / "agents" / "codex").glob("*") if path.name != ".lock"] == []


def test_a_package_for_another_system_is_left_alone(npm, tmp_path, settings):
    for version, target in (("1.0.0", "aarch64-apple-darwin"), ("1.0.1", "riscv64-unknown-linux-musl")):
        root = tmp_path / version
        (root / "bin").mkdir(parents=True)
        (root / "bin" / "codex").write_text("")
        (root / "codex-package.json").write_text(f'{{"version": "{version}", "target": "{target}"}}')
        settings.CODEX_HOME_DIR = str(root)
        assert CODEX.find() is None
