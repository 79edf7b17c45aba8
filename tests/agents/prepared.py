"""Images with a small repository in them, as preparation makes them: one for Docker, one for the local sandbox."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
from functools import cache
from pathlib import Path

from runs.sandboxes.base import BASE_GIT

GIT_IMAGE = "oneshot-test-git:1"
GIT_DOCKERFILE = """
FROM {base}
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends git >/dev/null \\
 && rm -rf /var/lib/apt/lists/* && useradd -m -u 10001 -d /home/agent agent
"""
CALC = {
    "calc.py": "def add(a, b): return a-b\n",
    "check.sh": "#!/bin/sh\ngrep -q 'a+b' calc.py\n",
}
# What `pytest` would be in a real image: a tool that only the image's own PATH leads to.
TOOL = "#!/bin/sh\necho from the environment\n"


@cache
def docker_image() -> str:
    """Return the id of an image with the repository, built on first use from the site's base image."""
    import docker
    from django.conf import settings

    client = docker.from_env()
    if not client.images.list(name=GIT_IMAGE):
        dockerfile = GIT_DOCKERFILE.format(base=settings.BASE_IMAGE).encode()
        client.images.build(fileobj=io.BytesIO(dockerfile), tag=GIT_IMAGE, rm=True, forcerm=True)
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        files = {f"work/{name}": text for name, text in CALC.items()}
        files |= {"tool": TOOL, "Dockerfile": _dockerfile()}
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text.encode()), 0o755
            archive.addfile(member, io.BytesIO(text.encode()))
    context.seek(0)
    image, _ = client.images.build(
        fileobj=context, custom_context=True, tag="oneshot-test-calc:1", rm=True, forcerm=True
    )
    return str(image.id)


def _dockerfile() -> str:
    commit = "git -c user.name=base -c user.email=base@localhost commit -qm base"
    return f"""
FROM {GIT_IMAGE}
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin
COPY tool /opt/venv/bin/environment-tool
COPY work /work
WORKDIR /work
RUN git init -q . && git add -A && {commit} && mkdir -p /opt/oneshot && git clone -q --bare . {BASE_GIT} \\
 && git -C {BASE_GIT} remote remove origin && chown -R agent:agent /work
"""


def local_image(directory: Path) -> str:
    """Make an image of the local sandbox in `directory`, and return its path."""
    work, tools = directory / "work", directory / "opt" / "venv" / "bin"
    for path in (work, tools, directory / "home"):
        path.mkdir(parents=True)
    for name, text in CALC.items():
        (work / name).write_text(text)
    (tools / "environment-tool").write_text(TOOL)
    (tools / "environment-tool").chmod(0o755)
    for line in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "base"]):
        git = ["git", "-c", "user.name=base", "-c", "user.email=base@localhost"]
        subprocess.run([*git, *line], cwd=work, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(directory / "base.git")], check=True)
    path = f"{tools}:{Path(shutil.which('git') or '').parent}:/usr/local/bin:/usr/bin:/bin"
    (directory / "image.json").write_text(json.dumps({"env": {"PATH": path}, "workdir": "/work"}))
    return str(directory)
