"""Repositories to grade in, in the sandboxes that this machine has."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from runs import sandboxes
from runs.models import Image
from tests.grading.arena import Arena, git, write
from tests.grading.plain import PlainProvider

# pytest and what it needs, as they are installed here: the images of these tests get copies of them.
PARTS_OF_PYTEST = (
    *("_pytest", "pytest", "py.py", "pluggy", "iniconfig", "packaging", "pygments"),
    *("pytest-*.dist-info", "pluggy-*.dist-info", "iniconfig-*.dist-info", "packaging-*.dist-info"),
)


def make_work(folder: Path, files: dict) -> Path:
    work = folder / "work"
    work.mkdir(parents=True)
    write(work, files)
    git(work, "init", "-q", "-b", "main")
    git(work, "add", "-A")
    git(work, "commit", "-qm", "base")
    return work


TEST_IMAGE = "oneshot-test-pytest:1"
DOCKERFILE = """\
FROM debian:bookworm-slim
RUN apt-get update -q && apt-get install -qy --no-install-recommends git python3 python3-pytest \\
    && rm -rf /var/lib/apt/lists/* && useradd --uid 10001 --create-home agent
"""
DOCKERFILE_OF_REPOSITORY = f"""\
FROM {TEST_IMAGE}
COPY --chown=10001:10001 work /work
COPY base.git /opt/oneshot/base.git
WORKDIR /work
"""


def build(folder: Path, *options: str) -> str:
    command = ["docker", "build", "--quiet", "--force-rm", *options, str(folder)]
    built = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "DOCKER_BUILDKIT": "0"})
    assert built.returncode == 0, built.stderr[-2000:]
    return built.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="session")
def docker_test_image(tmp_path_factory):
    """An image with git and pytest. It is kept, because making it takes a minute and Debian's mirror."""
    there = subprocess.run(["docker", "image", "inspect", TEST_IMAGE], capture_output=True)
    if there.returncode != 0:
        folder = tmp_path_factory.mktemp("docker")
        (folder / "Dockerfile").write_text(DOCKERFILE)
        build(folder, "--tag", TEST_IMAGE)
    return TEST_IMAGE


@pytest.fixture(scope="session")
def docker_images(docker_test_image, tmp_path_factory):
    """A function that returns (image id, work folder) of a repository; made once each, removed at the end."""
    made: dict[str, tuple[str, Path]] = {}

    def image_of(files: dict) -> tuple[str, Path]:
        name = repr(sorted(files.items()))
        if name not in made:
            folder = tmp_path_factory.mktemp("repository")
            work = make_work(folder, files)
            subprocess.run(["git", "clone", "-q", "--bare", work, folder / "base.git"], check=True)
            (folder / "Dockerfile").write_text(DOCKERFILE_OF_REPOSITORY)
            made[name] = (build(folder), work)
        return made[name]

    yield image_of
    for image, _ in made.values():
        subprocess.run(["docker", "image", "rm", "--force", image], capture_output=True)


@pytest.fixture
def docker_arena(docker_images, tmp_path):
    """Return a function that makes an arena of Docker containers."""

    def make(files: dict, **environment) -> Arena:
        image, work = docker_images(files)
        row = Image(sandbox="docker", reference=image, status=Image.Status.READY)
        return Arena(sandboxes.get("docker"), Path(tmp_path), row, work, {"test_framework": "pytest", **environment})

    return make


@pytest.fixture(params=["local", pytest.param("docker", marks=pytest.mark.docker)])
def arena_of(request):
    """The same, in every kind of sandbox there is here."""
    return request.getfixturevalue(f"{request.param}_arena")


@pytest.fixture(scope="session")
def site_with_pytest(tmp_path_factory):
    """A directory that has pytest and nothing else, to be put on a path."""
    site = tmp_path_factory.mktemp("site")
    installed = Path(pytest.__file__).parent.parent
    for pattern in PARTS_OF_PYTEST:
        for source in installed.glob(pattern):
            if source.is_dir():
                shutil.copytree(source, site / source.name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, site)
    return site


@pytest.fixture
def plain_arena(tmp_path):
    """Return a function that makes an arena of plain processes from {path: text}: only for what does no harm."""

    def make(files: dict, **environment) -> Arena:
        image = tmp_path / "image"
        shutil.rmtree(image, ignore_errors=True)
        work = make_work(image, files)
        row = Image(sandbox="plain", reference=str(image), status=Image.Status.READY)
        return Arena(PlainProvider(), Path(tmp_path), row, work, {"test_framework": "pytest", **environment})

    return make


@pytest.fixture
def local_arena(tmp_path, site_with_pytest):
    """Return a function that makes an arena of local sandboxes."""
    provider = sandboxes.get("local")
    if problem := provider.available():
        pytest.skip(problem)

    def make(files: dict, **environment) -> Arena:
        image = tmp_path / "image"
        shutil.rmtree(image, ignore_errors=True)
        work = make_work(image, files)
        subprocess.run(["git", "clone", "-q", "--bare", work, image / "base.git"], check=True)
        (image / "home").mkdir()
        (image / "opt").mkdir()
        shutil.copytree(site_with_pytest, image / "opt" / "site", copy_function=os.link)
        (image / "opt" / "site").chmod(0o755)
        # Whatever else is installed with this Python stays out of it.
        python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
        (image / "opt" / "bin").mkdir()
        (image / "opt" / "bin" / "python").write_text(f'#!/bin/sh\nexec {python} -S "$@"\n')
        (image / "opt" / "bin" / "python").chmod(0o755)
        path = f"{image / 'opt' / 'bin'}:/usr/local/bin:/usr/bin:/bin"
        env = {"PATH": path, "PYTHONPATH": str(image / "opt" / "site")}
        (image / "image.json").write_text(json.dumps({"env": env, "workdir": "/work"}))
        for path in [tmp_path, *tmp_path.parents]:
            if path.stat().st_uid == os.getuid() and not path.stat().st_mode & 0o001:
                path.chmod(path.stat().st_mode | 0o011)
        row = Image(sandbox="local", reference=str(image), status=Image.Status.READY)
        return Arena(provider, Path(tmp_path), row, work, {"test_framework": "pytest", **environment})

    return make
