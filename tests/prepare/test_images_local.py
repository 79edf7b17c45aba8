"""The local sandbox's images: directories that are made in a moment when nothing has to be installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.utils import timezone

from runs import images, sandboxes
from runs.errors import TaskError
from runs.images import editable
from runs.models import Image
from runs.sandboxes.base import SandboxSpec
from tests.prepare.repositories import Lines, Repository, version_of

pytestmark = pytest.mark.django_db

UNITTEST = {"calc.py": "x = 1\n", "test_calc.py": "import unittest\n\nclass T(unittest.TestCase):\n    pass\n"}


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "origin")


def make(repository, *, environment=None, files=None, log=None, **fields):
    commit = repository.commit(**(files or UNITTEST))
    version = version_of(repository.path, commit, environment=environment or {}, **fields)
    return images.ensure(version, "local", log=Lines() if log is None else log), version


def run(image, version, script):
    labels = {"oneshot.instance": sandboxes.instance(), "oneshot.purpose": "build"}
    spec = SandboxSpec(image=image.reference, labels=labels, workdir=version.effective_environment()["workdir"])
    sandbox = sandboxes.get("local").create(spec)
    try:
        result = sandbox.exec(["sh", "-c", script, "sh", sandbox.workdir, sandbox.base_git], timeout_s=60)
    finally:
        sandbox.destroy()
    return result.exit_code, (result.stdout + result.stderr).decode()


def test_task_that_needs_nothing_is_ready_in_a_moment_without_a_network(repository, settings):
    settings.PIP_INDEX_URL = "http://127.0.0.1:9/simple"
    started = time.monotonic()
    image, version = make(repository)
    assert time.monotonic() - started < 3
    assert version.effective_environment()["test_framework"] == "unittest"
    directory = Path(image.reference)
    assert directory.is_relative_to(settings.DATA_DIR / "images")
    assert sorted(path.name for path in directory.iterdir()) == ["base.git", "home", "image.json", "opt", "work"]
    assert json.loads((directory / "image.json").read_text())["workdir"] == "/work"
    assert image.size_bytes > 0


def test_agent_gets_one_commit_and_cannot_write_the_base(repository):
    repository.commit(message="earlier", **{"old.py": "1"})
    image, version = make(repository)
    repository.commit(message="answer", **{"calc.py": "x = 2"})
    status, out = run(
        image,
        version,
        'git status --short; git log --format="%s %H"; python3 -m unittest -q 2>/dev/null;'
        ' git --git-dir="$2" rev-parse HEAD; touch "$2/x" 2>/dev/null || echo closed; touch ok && rm ok',
    )
    commit = version.snapshot_commit
    assert (status, out.splitlines()) == (0, [f"base {commit}", commit, "closed"])
    rows = images.checks(version, image, sandboxes.get("local"))
    assert [row["status"] for row in rows] == ["ok", "ok", "ok"]


def test_a_declared_path_may_stand_before_the_one_that_is_there(repository):
    declared = {"PATH": "/opt/tools/bin:$PATH", "LIBS": "${LIBS}/opt/libs", "PRICE": "$5"}
    image, _ = make(repository, environment={"env": declared, "languages": []})
    env = json.loads((Path(image.reference) / "image.json").read_text())["env"]
    tools, *rest = env["PATH"].split(":")
    assert tools == f"{image.reference}/opt/tools/bin"
    assert "/usr/bin" in rest
    assert (env["LIBS"], env["PRICE"]) == (f"{image.reference}/opt/libs", "$5")


ADDED = [
    "from __future__ import annotations",
    "def answer_of_everything():",
    "    return 'forty-two, and not a bit more'",
]


@pytest.mark.parametrize(
    ("place", "lines", "status"),
    [
        ("notes.txt", ADDED, "failed"),
        ("notes.txt", ADDED[:1], "ok"),
        (".venv/lib/python3.11/site-packages/a/b.py", ADDED[:1], "ok"),
        (".venv/lib/python3.11/site-packages/calc/calc.py", ADDED, "warning"),
    ],
)
def test_a_line_found_by_chance_is_no_answer_in_the_image(repository, place, lines, status):
    head = "diff --git a/calc.py b/calc.py\n--- a/calc.py\n+++ b/calc.py\n@@ -1 +1,4 @@\n x = 1\n"
    diff = head + "".join(f"+{line}\n" for line in ADDED)
    written = " ".join(f'"{line}"' for line in lines)
    setup = [f"mkdir -p $(dirname {place})", f"printf '%s\\n' {written} > {place}"]
    image, version = make(repository, environment={"setup": setup, "languages": []}, diff=diff.encode())
    row = images.checks(version, image, sandboxes.get("local"))[2]
    assert row["status"] == status, row["evidence"]


def test_second_request_finds_the_first_image(repository):
    image, version = make(repository)
    log = Lines()
    again = images.ensure(version, "local", log=log)
    assert (again.pk, again.tries, log) == (image.pk, 1, [])


def test_image_whose_directory_is_gone_is_made_again(repository):
    image, version = make(repository)
    (Path(image.reference) / "image.json").unlink()
    again = images.ensure(version, "local", log=Lines())
    assert again.tries == 2
    assert (Path(again.reference) / "image.json").exists()
    assert not Path(image.reference).exists()


def test_set_up_runs_in_the_repository_and_changes_nothing_that_is_tracked(repository):
    if sandboxes.get("local").isolation() == "none":
        pytest.skip("a plain process cannot be given an /opt of its own: install bubblewrap")
    log = Lines()
    setup = [
        "cd sub",
        "echo made > made.txt",
        "cd .. && echo changed >> calc.py && rm -rf lib && ln -s /etc lib",
        "mkdir -p /opt/tool && echo 'echo tool' > /opt/tool/run && chmod 755 /opt/tool/run",
        'echo kept > "$HOME/note"',
        "rm -rf .git; git init -q .",
    ]
    files = {"calc.py": "x = 1\n", "sub/a.txt": "a", "lib/passwd": "mine\n"}
    image, version = make(repository, environment={"setup": setup, "languages": []}, files=files, log=log)
    status, out = run(
        image,
        version,
        "git status --short; git log --format=%H; cat calc.py sub/made.txt lib/passwd ~/note; /opt/tool/run",
    )
    assert (status, out.split()) == (0, [version.snapshot_commit, "x", "=", "1", "made", "mine", "kept", "tool"])
    assert "they are put back: calc.py, lib/passwd" in log.text()
    assert Path("/etc/passwd").exists()
    for path in Path(image.reference).rglob("*"):
        assert path.lstat().st_uid == os.geteuid()


def test_failing_set_up_is_the_task_s_fault_and_leaves_no_directory(repository, settings):
    with pytest.raises(TaskError, match=r"exit status 4[\s\S]*words"):
        make(repository, environment={"setup": ["echo words; exit 4"], "languages": []})
    assert list((settings.DATA_DIR / "images").iterdir()) == []
    image = Image.objects.get()
    assert (image.status, image.fault) == (Image.Status.FAILED, "task")


def test_stopping_a_set_up_leaves_nothing_behind(repository, settings):
    class Stopped(Exception):
        pass

    log = Lines()
    stopped_at = []

    def alive():
        if "sleeping now" in log:
            stopped_at.append(time.monotonic())
            raise Stopped

    commit = repository.commit(**UNITTEST)
    setup = ["echo sleeping now", "sleep 300"]
    version = version_of(repository.path, commit, environment={"setup": setup, "languages": []})
    with pytest.raises(Stopped):
        images.ensure(version, "local", log=log, alive=alive)
    assert time.monotonic() - stopped_at[0] < 3
    assert list((settings.DATA_DIR / "images").iterdir()) == []
    assert sandboxes.get("local").list({"oneshot.purpose": "build"}) == []


def test_directory_that_a_dead_builder_left_is_replaced(repository, settings):
    image, version = make(repository)
    (Path(image.reference) / "image.json").unlink()
    Image.objects.update(status=Image.Status.BUILDING, builder="elsewhere/1:7", heartbeat_at=timezone.now())
    settings.LEASE_S = 1
    again = images.ensure(version, "local", log=Lines())
    assert again.status == Image.Status.READY
    assert [path.name for path in (settings.DATA_DIR / "images").iterdir()] == [Path(again.reference).name]


def test_builder_that_was_overtaken_writes_nothing_and_waits_for_the_other(repository, settings):
    """The claim of a slow builder is taken in mid-build; it stops, and returns what the other one makes."""
    settings.HEARTBEAT_S = 0.1
    commit = repository.commit(**UNITTEST)
    setup = ["echo building; sleep 1"]
    version = version_of(repository.path, commit, environment={"setup": setup, "languages": []})
    log = Lines()
    seen = []

    def overtake():
        if "building" in log and not seen:
            seen.append(1)
            Image.objects.update(tries=5, builder="elsewhere/1:7", heartbeat_at=None)

    image = images.ensure(version, "local", log=log, alive=overtake)
    assert "another process has taken this build over" in log.text()
    assert image.tries == 6
    assert image.status == Image.Status.READY


def test_packages_that_are_not_installed_here_are_named(repository):
    log = Lines()
    make(repository, environment={"packages": ["git", "no-such-package-xyz"]}, log=log)
    assert "this machine lacks no-such-package-xyz" in log.text()


def test_own_dockerfile_asks_for_docker(repository):
    with pytest.raises(TaskError, match="--sandbox docker"):
        make(repository, environment={"dockerfile": "FROM scratch\n"})


def test_secret_in_a_file_of_the_set_up_is_refused(repository, settings):
    settings.PIP_INDEX_URL = "https://reader:s3cr3t-of-the-index@pypi.example/simple"
    with pytest.raises(TaskError, match="wrote the password") as error:
        make(repository, environment={"setup": ['echo "$PIP_INDEX_URL" > ~/pip.conf'], "languages": []})
    assert "s3cr3t" not in str(error.value)


def test_project_installed_in_place_is_found_beside_any_home(tmp_path):
    """In a plain sandbox the repository has another path for every run."""
    site_packages = tmp_path / "site-packages"
    site_packages.mkdir()
    work = tmp_path / "image" / "work"
    (site_packages / "__editable__.a.pth").write_text(f"{work}/src\n")
    (site_packages / "__editable___b_finder.py").write_text(f"MAPPING = {{'b': '{work}/b', 'c': \"{work}\"}}\n")
    assert len(editable.unpin(site_packages, work)) == 2
    sandbox = tmp_path / "sandbox"
    (sandbox / "work" / "src").mkdir(parents=True)
    (sandbox / "home").mkdir()
    script = (
        f"import site, sys; site.addsitedir({str(site_packages)!r}); print(sys.path[-1]);"
        f" sys.path.insert(0, {str(site_packages)!r}); from __editable___b_finder import MAPPING as m;"
        " print(m['b'], m['c'])"
    )
    out = subprocess.run(
        [sys.executable, "-I", "-c", script],
        env={"HOME": str(sandbox / "home")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert out.split() == [f"{sandbox}/work/src", f"{sandbox}/work/b", f"{sandbox}/work"]
