"""The builder's sandbox, which may be root and write the image itself; and engines that lack something."""

import shutil
from pathlib import Path

import pytest

from runs.sandboxes.base import SandboxSpec
from tests.sandboxes.conftest import DOCKER, LIMITS, eventually, is_alive, text, unique_sleep

docker = pytest.mark.parametrize("kind", DOCKER, indirect=True)


@docker
def test_a_builder_is_root_with_what_a_package_manager_needs(make):
    sandbox = make(root=True, workdir="/")
    script = "id -u; touch /usr/new && chown 10001:10001 /usr/new && su agent -c 'id -u' && echo $HOME"
    result = sandbox.exec(["sh", "-c", script])
    assert text(result.stdout).split() == ["0", "10001", "/root"], text(result.stderr)
    assert sandbox.exec(["mount", "-t", "tmpfs", "none", "/mnt"]).exit_code != 0


@docker
def test_a_builder_s_time_out_and_leftovers_end_without_losing_its_files(make):
    sandbox = make(root=True, workdir="/")
    nap = unique_sleep()
    assert sandbox.exec(["sh", "-c", f"echo a > /kept; setsid sleep {nap} >/dev/null 2>&1 & echo hi"]).exit_code == 0
    if sandbox.view:
        assert eventually(lambda: not is_alive(nap), within_s=1)
    assert sandbox.exec(["sh", "-c", f"setsid sleep {nap} & sleep {nap}"], timeout_s=0.5).timed_out
    assert eventually(lambda: not is_alive(nap), within_s=2)
    assert sandbox.exec(["cat", "/kept"]).stdout == b"a\n"


@docker
def test_root_in_an_agent_s_sandbox_has_no_rights_and_leaves_nothing(make):
    sandbox = make()
    nap = unique_sleep()
    result = sandbox.exec(["sh", "-c", f"id -u; setsid sleep {nap} >/dev/null 2>&1 & chown 1 /etc/passwd"], root=True)
    assert result.exit_code != 0
    assert result.stdout == b"0\n"
    assert eventually(lambda: not is_alive(nap), within_s=2)
    assert sandbox.exec(["echo", "well"]).stdout == b"well\n"


@pytest.mark.parametrize("kind", DOCKER[:1], indirect=True)
def test_an_engine_without_an_init_program_gets_a_shell_for_one(make, provider):
    provider._has_init = False
    sandbox = make()
    nap = unique_sleep()
    assert sandbox.exec(["sh", "-c", f"(setsid sleep {nap} >/dev/null 2>&1 &); echo hi"]).stdout == b"hi\n"
    assert eventually(lambda: not is_alive(nap), within_s=1)
    assert sandbox.exec(["sleep", "9"], timeout_s=0.3).timed_out
    states = "cat /proc/[0-9]*/status | grep -c '^State:.Z'"
    assert eventually(lambda: sandbox.exec(["sh", "-c", states]).stdout == b"0\n", within_s=2)


@pytest.mark.parametrize("kind", ["bubblewrap", "unshare", "none"], indirect=True)
def test_a_local_builder_works_in_the_image_itself(provider, local_image, tmp_path):
    image = Path(local_image).with_name("b" * 64)
    shutil.rmtree(image, ignore_errors=True)
    shutil.copytree(local_image, image)
    sandbox = provider.create(
        SandboxSpec(image=str(image), labels={}, limits=LIMITS, network="full", root=True, workdir="/work")
    )
    try:
        opt = sandbox.path("/opt")
        script = 'echo made > "$1/new"; echo built > artifact; echo home > ~/setting'
        result = sandbox.exec(["sh", "-c", script, "build", opt], root=True)
        assert result.exit_code == 0, text(result.stderr)
        assert (
            sandbox.exec(["sh", "-c", f"echo x > {sandbox.base_git}/HEAD"]).exit_code != 0
            or provider.isolation() == "none"
        )
    finally:
        sandbox.destroy()
    made = {name: (image / name).read_text() for name in ("opt/new", "work/artifact", "home/setting")}
    assert made == {"opt/new": "made\n", "work/artifact": "built\n", "home/setting": "home\n"}
    shutil.rmtree(image)
