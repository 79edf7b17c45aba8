"""Which sandbox is taken, and what is said when one cannot be."""

import os
import socket
import subprocess
import sys
import time
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from runs import sandboxes
from runs.errors import InfraError, TaskError
from runs.sandboxes.base import Limits, SandboxSpec
from runs.sandboxes.docker import DockerProvider, engine
from runs.sandboxes.local import LocalProvider, access, cgroups, plan
from tests.sandboxes.conftest import open_to_all


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Nothing that other tests found out about engines is remembered here, and nothing found here is remembered."""
    monkeypatch.setattr(sandboxes, "_providers", {})
    monkeypatch.setattr(engine, "_client", None)
    monkeypatch.setattr(engine, "_versions", {})
    monkeypatch.delenv("DOCKER_HOST", raising=False)


@pytest.fixture
def no_docker(settings, tmp_path):
    settings.DOCKER_HOST = f"unix://{tmp_path}/docker.sock"
    return tmp_path / "docker.sock"


def test_the_names_are_those_of_all_kinds():
    assert sandboxes.names()[:2] == ["docker", "local"]
    assert sandboxes.get("local").name == "local"
    assert sandboxes.get("docker") is sandboxes.get("docker")


def test_an_unknown_name_is_told_with_the_known_ones():
    with pytest.raises(InfraError, match=r"no sandbox called 'podman'\. Use one of: auto, docker, local"):
        sandboxes.get("podman")


def test_a_plug_in_of_another_package_is_found(monkeypatch):
    entry = EntryPoint(name="cloud", value=f"{__name__}:Cloud", group=sandboxes.GROUP)
    wrong = EntryPoint(name="wrong", value="no_such_module:Thing", group=sandboxes.GROUP)
    monkeypatch.setattr(sandboxes, "entry_points", lambda group: [entry, wrong] if group == sandboxes.GROUP else [])
    assert "cloud" in sandboxes.names()
    assert isinstance(sandboxes.get("cloud"), Cloud)
    assert isinstance(sandboxes.choose("cloud"), Cloud)
    with pytest.raises(InfraError, match=r"'wrong' .* cannot be loaded"):
        sandboxes.get("wrong")


class Cloud:
    name = "cloud"

    def available(self) -> str:
        return ""


def test_without_docker_auto_is_local(no_docker, settings):
    settings.SANDBOX = "auto"
    assert sandboxes.choose("auto").name == "local"
    assert sandboxes.choose().name == "local"


def test_the_site_s_choice_stands_for_auto(no_docker, settings):
    settings.SANDBOX = "docker"
    with pytest.raises(InfraError, match="docker sandbox cannot be used"):
        sandboxes.choose("auto")


def test_an_engine_that_is_not_there_says_what_to_do(no_docker):
    with pytest.raises(InfraError, match=r"not installed, or its engine is not running: there is no socket"):
        sandboxes.choose("docker")
    for use in (
        lambda: DockerProvider().create(SandboxSpec(image="sha256:0", labels={})),
        lambda: DockerProvider().list({}),
        lambda: DockerProvider().destroy("0" * 64),
    ):
        with pytest.raises(InfraError, match="no socket"):
            use()


def test_an_engine_that_has_stopped_says_so(no_docker):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(no_docker))
    assert "is not running: nobody listens" in DockerProvider().available()


def test_an_engine_that_is_closed_to_us_says_so(no_docker):
    if os.geteuid() == 0:
        script = "from runs.sandboxes.docker import engine; import os; os.setuid(65534); print(engine.problem())"
        prelude = f"from django.conf import settings; settings.configure(DOCKER_HOST='unix://{no_docker}'); "
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(no_docker))
            listener.listen()
            no_docker.chmod(0o600)
            open_to_all(no_docker.parent)
            done = subprocess.run(
                [sys.executable, "-c", prelude + script],
                capture_output=True,
                text=True,
                check=True,
                cwd=Path(__file__).parents[2],
            )
        assert "no permission" in done.stdout
        assert "usermod -aG docker" in done.stdout
        return
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(no_docker))
        listener.listen()
        no_docker.chmod(0)
        assert "no permission" in DockerProvider().available()


def test_an_engine_over_ssh_is_told_the_way(settings):
    settings.DOCKER_HOST = "ssh://host"
    with pytest.raises(InfraError, match="Forward its socket"):
        engine.client()


def test_an_engine_over_tcp_that_is_not_there_says_so(settings):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    settings.DOCKER_HOST = f"tcp://127.0.0.1:{port}"
    assert f"at tcp://127.0.0.1:{port} cannot be reached" in DockerProvider().available()


@pytest.mark.docker
def test_a_base_image_that_cannot_be_had_makes_auto_local_within_a_second(settings):
    settings.SANDBOX, settings.BASE_IMAGE = "auto", "oneshot.invalid/no/such:image"
    # Imports are the start of a process, not a part of the choice.
    engine.client()
    began = time.monotonic()
    assert sandboxes.choose().name == "local"
    assert time.monotonic() - began < 1.5
    problem = DockerProvider().base_image_problem()
    assert "oneshot.invalid/no/such:image is not here and cannot be pulled" in problem
    assert "ONESHOT_BASE_IMAGE" in problem
    assert sandboxes.choose("docker").name == "docker"


@pytest.mark.docker
def test_with_docker_and_the_base_image_auto_is_docker(settings, docker_image):
    settings.SANDBOX, settings.BASE_IMAGE = "auto", "oneshot-test-sandboxes:1"
    assert sandboxes.choose().name == "docker"
    assert sandboxes.choose().isolation() == "container"


@pytest.mark.docker
def test_a_missing_image_is_the_task_s_and_a_missing_container_nobody_s(docker_image):
    provider = DockerProvider()
    with pytest.raises(TaskError, match=r"is not on the Docker engine any more. Prepare the task again"):
        provider.create(SandboxSpec(image="sha256:" + "0" * 64, labels={}))
    provider.destroy("0" * 64)


@pytest.mark.docker
def test_a_child_of_a_fork_speaks_to_the_engine_on_its_own_connection(docker_image):
    ours = engine.client()
    assert ours.ping()
    pid = os.fork()
    if pid == 0:
        theirs = engine.client()
        os._exit(0 if theirs is not ours and theirs.ping() and theirs.containers(limit=1) is not None else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert ours is engine.client()
    assert ours.ping()


def test_a_missing_image_directory_is_the_task_s(tmp_path):
    with pytest.raises(TaskError, match="Prepare the task again"):
        LocalProvider("none").create(SandboxSpec(image=str(tmp_path / "gone"), labels={}))


def test_warming_up_never_fails(no_docker):
    sandboxes.warm()


def test_the_instance_is_that_of_the_data_directory(settings, tmp_path):
    first = sandboxes.instance()
    assert len(first) == 12
    assert first == sandboxes.instance()
    settings.DATA_DIR = tmp_path
    assert sandboxes.instance() != first


# How the local sandbox finds its ground


def test_control_groups_of_version_2_are_made_in_the_nearest_group_that_hands_them_on(tmp_path):
    """A tree of plain files with the kernel's names; the kernel's own part is tried by the other tests."""
    root, own = tmp_path / "cgroup", "user.slice/app.slice/worker.scope"
    (root / own).mkdir(parents=True)
    for directory, controllers in (("", "cpu memory pids"), ("user.slice/app.slice", "cpu memory pids"), (own, "")):
        (root / directory / "cgroup.controllers").write_text(controllers)
        (root / directory / "cgroup.procs").write_text("")
        (root / directory / "cgroup.subtree_control").write_text(controllers)
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text(f"0::/{own}\n")
    found = cgroups.find(root, tmp_path / "self")
    assert [(one.version, one.parent.relative_to(root)) for one in found] == [(2, Path("user.slice/app.slice"))]
    group = cgroups.Group("oneshot-x", found)
    group.make(Limits(memory_mb=64, cpus=0.5, pids=10))
    made = root / "user.slice/app.slice/oneshot-x"
    assert {path.name: path.read_text() for path in made.iterdir()} == {
        "pids.max": "14",
        "memory.max": str(64 * 1024 * 1024),
        "memory.swap.max": "0",
        "cpu.max": "50000 100000",
    }
    (made / "memory.events").write_text("low 0\noom 4\noom_kill 3\noom_group_kill 1\n")
    assert group.memory_kills() == 3


def test_a_workdir_above_the_data_directory_gets_another_name(settings, tmp_path, monkeypatch):
    image = tmp_path / "images" / "abc"
    (image / "opt").mkdir(parents=True)
    assert plan.choose_workdir("/work", image) == "/work"
    assert plan.choose_workdir(str(tmp_path), image) == "/work"
    assert plan.choose_workdir(str(tmp_path / "other"), image) == str(tmp_path / "other")


def test_passage_is_given_to_one_group_and_to_nobody_else(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root gives away passage")
    closed = tmp_path / "closed"
    (closed / "within").mkdir(parents=True)
    closed.chmod(0o700)
    open_to_all(tmp_path)
    try:
        access.grant_passage(closed, access.PASSAGE_GID)
        access.grant_passage(closed, access.PASSAGE_GID)
    except OSError as error:
        pytest.skip(f"this file system keeps no access control lists: {error}")

    def can(command: list[str], groups: list[int]) -> bool:
        done = subprocess.run(command, user=65_500, group=65_500, extra_groups=groups, capture_output=True, check=False)
        return done.returncode == 0

    assert can(["ls", str(closed / "within")], [access.PASSAGE_GID])
    assert not can(["ls", str(closed)], [access.PASSAGE_GID])
    assert not can(["ls", str(closed / "within")], [])
