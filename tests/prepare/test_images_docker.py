"""Docker images of tasks: what is in them, what must never be, and what a failed build says."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import time
from http import HTTPStatus

import pytest
from django.utils import timezone
from docker.errors import APIError

from oneshot import store
from runs import images, sandboxes, sweep
from runs.errors import InfraError, TaskError
from runs.images import claims, dockerfiles
from runs.models import Image, LogChunk
from runs.sandboxes.base import SandboxSpec
from runs.sandboxes.docker import engine
from tests.prepare.repositories import Lines, Repository, version_of

pytestmark = [pytest.mark.docker, pytest.mark.django_db]

# Without it the repository would be taken for a Python project, which needs more than these tests do.
PLAIN = {"languages": [], "setup": []}
SECRET = "s3cr3t-of-the-index"
MADE: set[str] = set()


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "origin")


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    """Remove the containers and layers that a test made; its images go at the end, so that tests can share one."""
    builds = []
    before = dockerfiles.Build.__init__

    def noted(self, plan):
        before(self, plan)
        builds.append(self)

    monkeypatch.setattr(dockerfiles.Build, "__init__", noted)
    started = time.time() - 1
    yield
    client = engine.client()
    for container in containers():
        client.remove_container(container["Id"], force=True)
    mine = set(Image.objects.filter(sandbox="docker").exclude(reference="").values_list("reference", flat=True))
    MADE.update(mine)
    if builds:
        mine |= {layer["Id"] for layer in client.images(name="oneshot/layer") if layer["Created"] > started}
        remove(mine)
    for build in builds:
        build.forget()


@pytest.fixture(autouse=True, scope="module")
def tidy():
    """Remove what is left of the tests' images; the layer that all of them share stays."""
    yield
    remove({*MADE, "oneshot-test/git:1"})
    MADE.clear()


def remove(references):
    client = engine.client()
    here = client.images(all=True)
    known = {image["Id"] for image in here} | {tag for image in here for tag in image["RepoTags"] or ()}
    for reference in references & known:
        try:
            client.remove_image(reference, force=True)
        except APIError as error:
            # Another worker has built on it meanwhile; it goes when that one tidies up.
            if error.status_code != HTTPStatus.CONFLICT:
                raise


def make(repository, *, environment=None, files=None, log=None, **fields):
    """Return (image, version) of a fresh task."""
    commit = repository.commit(**(files or {"calc.py": "x = 1\n"}))
    version = version_of(repository.path, commit, environment={**PLAIN, **(environment or {})}, **fields)
    return images.ensure(version, "docker", log=Lines() if log is None else log), version


def run(image, version, script, **options):
    """Run a script in a sandbox of the image; return (exit status, output)."""
    spec = SandboxSpec(
        image=image.reference,
        labels={"oneshot.instance": sandboxes.instance(), "oneshot.purpose": "build"},
        workdir=version.effective_environment()["workdir"],
    )
    sandbox = sandboxes.get("docker").create(spec)
    try:
        result = sandbox.exec(["sh", "-c", script], timeout_s=60, **options)
    finally:
        sandbox.destroy()
    return result.exit_code, (result.stdout + result.stderr).decode()


@pytest.fixture
def git_image(repository):
    """Return the name of a small image that has git, so that no test waits for its installation."""
    if not engine.client().images(name="oneshot-test/git:1", quiet=True):
        image, _ = make(repository)
        below = engine.client().history(image.reference)[1]["Id"]
        engine.client().tag(below, "oneshot-test/git", "1")
    return "oneshot-test/git:1"


def containers():
    return engine.client().containers(all=True, filters={"label": f"oneshot.instance={sandboxes.instance()}"})


def layers_and_config(reference):
    """Return all that an image says of itself, and the content of every file in it."""
    client = engine.client()
    told = json.dumps([client.inspect_image(reference), client.history(reference)])
    with tarfile.open(fileobj=io.BytesIO(b"".join(client.get_image(reference)))) as saved:
        parts = [saved.extractfile(member).read() for member in saved if member.isreg()]
    return told, parts


def test_image_has_the_repository_for_the_agent_and_the_base_out_of_its_reach(repository):
    repository.commit(message="earlier", **{"old.py": "1"})
    image, version = make(repository, files={"calc.py": "x = 1\n", "old.py": "2", "sub/run.sh": "#!/bin/sh\n"})
    repository.commit(message="answer", **{"calc.py": "x = 'the answer of the future'\n"})
    assert image.status == Image.Status.READY
    assert image.reference.startswith("sha256:")
    assert image.size_bytes > 0
    status, out = run(
        image,
        version,
        "pwd; id -u; git status --short; git log --format='%s %H'; ls -ld . .git | awk '{print $3}';"
        " git --git-dir=/opt/oneshot/base.git rev-parse HEAD; touch /opt/oneshot/base.git/x 2>&1; touch ok && rm ok",
    )
    commit = version.snapshot_commit
    assert status == 0, out
    assert out.splitlines() == [
        "/work",
        "10001",
        f"base {commit}",
        "agent",
        "agent",
        commit,
        "touch: cannot touch '/opt/oneshot/base.git/x': Permission denied",
    ]
    labels = engine.client().inspect_image(image.reference)["Config"]["Labels"]
    assert labels["oneshot.instance"] == labels["oneshot.expires"] == ""
    rows = images.checks(version, image, sandboxes.get("docker"))
    assert [(row["name"], row["status"]) for row in rows] == [
        ("Snapshot", "ok"),
        ("Image", "ok"),
        ("Answer not in the image", "ok"),
    ]
    assert "One commit" in rows[0]["evidence"]


def test_same_content_is_built_once_and_then_found_at_once(repository):
    image, version = make(repository, files={"once.py": "built\n"})
    log = Lines()
    started = time.monotonic()
    again = images.ensure(version, "docker", log=log)
    assert again.pk == image.pk
    assert again.tries == 1
    assert log == []
    assert time.monotonic() - started < 1
    # Time-outs and memory steer runs and are no part of an image.
    other = version_of(repository.path, repository.git("rev-parse", "HEAD"), environment={**PLAIN, "timeout_s": 5})
    assert images.ensure(other, "docker", log=log).pk == image.pk


def test_own_packages_variables_and_directory_are_there(repository):
    image, version = make(
        repository,
        environment={
            "env": {"GREETING": 'a "quoted" $HOME\\n', "NUMBER": 3},
            "workdir": "/srv/project",
            "setup": ["cd sub", "echo from $PWD > made.txt", "git config --list > /dev/null"],
        },
        files={"sub/a.txt": "a"},
    )
    status, out = run(image, version, "pwd; printenv GREETING; echo $NUMBER; cat sub/made.txt; git status --short")
    assert out.splitlines() == ["/srv/project", 'a "quoted" $HOME\\n', "3", "from /srv/project/sub"]
    assert status == 0


def test_set_up_that_fails_shows_its_last_lines_and_is_the_task_s_fault(repository):
    log = Lines()
    setup = ["echo first", "for i in $(seq 50); do echo line $i; done", "echo oops >&2; exit 7", "echo never"]
    with pytest.raises(TaskError) as error:
        make(repository, environment={"setup": setup}, log=log)
    words = str(error.value)
    assert "The set-up of the task failed with exit status 7" in words
    assert "line 50" in words
    assert "oops" in words
    assert "line 10\n" not in words
    assert "never" not in words
    image = Image.objects.get()
    assert (image.status, image.fault) == (Image.Status.FAILED, "task")
    assert "$ echo first" in log
    document = store.get_text(image.log_digest)
    assert "line 1" in document
    assert json.loads(document.splitlines()[0]).keys() == {"t", "s", "x"}
    assert not LogChunk.objects.filter(image=image).exists()
    assert containers() == []


def test_failure_is_answered_at_once_for_a_minute_and_a_retry_builds_anew(repository):
    with pytest.raises(TaskError):
        make(repository, environment={"setup": ["exit 7"]})
    image = Image.objects.get()
    version = version_of(
        repository.path, repository.git("rev-parse", "HEAD"), environment={**PLAIN, "setup": ["exit 7"]}
    )
    with pytest.raises(TaskError, match="exit status 7"):
        images.ensure(version, "docker", log=Lines())
    image.refresh_from_db()
    assert image.tries == 1
    with pytest.raises(TaskError, match="exit status 7"):
        images.ensure(version, "docker", log=Lines(), retry=True)
    image.refresh_from_db()
    assert image.tries == 2


def test_packages_that_cannot_be_fetched_are_this_installation_s_fault(repository, settings):
    settings.APT_MIRROR = "http://127.0.0.1:9/debian"
    with pytest.raises(InfraError, match="could not be reached from inside the build"):
        make(repository, environment={"packages": ["zzuf"]})
    assert Image.objects.get().fault == "infra"


def test_unknown_base_image_and_missing_one_say_whose_fault(repository, settings):
    with pytest.raises(InfraError, match="cannot be pulled"):
        make(repository, environment={"base_image": "127.0.0.1:9/nothing:1"})


def test_time_limit_ends_a_set_up(repository, settings):
    settings.BUILD_TIMEOUT_S = 1
    with pytest.raises(TaskError, match=r"did not end within 1 s.*ONESHOT_BUILD_TIMEOUT_S"):
        make(repository, environment={"setup": ["sleep 60"]})
    assert containers() == []


def test_what_set_up_changes_is_put_back_and_what_it_adds_is_in_no_diff(repository):
    log = Lines()
    setup = [
        "echo changed >> calc.py",
        "rm gone.txt",
        "rm -rf lib && ln -s /etc lib",
        "mkdir 'odd [name] #1' && touch 'odd [name] #1/x' egg",
        "rm -rf .git && git init -q . && git config user.email x@y && git -c user.name=x commit -q --allow-empty -m z",
    ]
    image, version = make(
        repository,
        environment={"setup": setup},
        files={"calc.py": "x = 1\n", "gone.txt": "g", "lib/a.txt": "a\n"},
        log=log,
    )
    status, out = run(
        image, version, "git status --short; git log --format=%H; cat calc.py gone.txt lib/a.txt; ls -d egg"
    )
    assert out.split() == [version.snapshot_commit, "x", "=", "1", "ga", "egg"]
    assert status == 0
    assert "they are put back" in log.text()
    status, out = run(
        image, version, "export GIT_DIR=/opt/oneshot/base.git GIT_WORK_TREE=$PWD; git status --short; ls /etc/passwd"
    )
    assert out.split() == ["/etc/passwd"]


def test_what_programs_leave_behind_is_in_no_diff(repository):
    image, version = make(repository)
    _, out = run(
        image,
        version,
        "mkdir a __pycache__ .pytest_cache; touch __pycache__/x.pyc .pytest_cache/y a/b.pyc a/c.py; git status --short",
    )
    assert out.strip() == "?? a/"


def test_secrets_of_the_site_reach_the_build_and_nothing_else(repository, settings, tmp_path):
    ca = tmp_path / "site-ca.pem"
    ca.write_text("-----BEGIN CERTIFICATE-----\nMARK0FTHISSITE\n-----END CERTIFICATE-----\n")
    settings.EXTRA_CA = str(ca)
    settings.PIP_INDEX_URL = f"https://reader:{SECRET}@pypi.example/simple"
    settings.NPM_REGISTRY = "https://npm.example/"
    log = Lines()
    setup = [
        f'[ "$PIP_INDEX_URL" = "{settings.PIP_INDEX_URL.replace(SECRET, "$SAID")}" ] || SAID=1',
        'case "$PIP_INDEX_URL" in https://reader:*@pypi.example/simple) echo index given;; *) exit 3;; esac',
        '[ "$npm_config_registry" = https://npm.example/ ]',
        'for f in "$SSL_CERT_FILE" "$PIP_CERT" "$REQUESTS_CA_BUNDLE" "$NODE_EXTRA_CA_CERTS"; do'
        ' grep -q MARK0FTHISSITE "$f"; done',
        'echo "$PIP_INDEX_URL"',
    ]
    image, version = make(repository, environment={"setup": setup}, log=log)
    assert "index given" in log
    assert SECRET not in log.text()
    assert SECRET not in store.get_text(image.log_digest)
    told, parts = layers_and_config(image.reference)
    assert SECRET not in told
    assert "npm.example" not in told
    assert not any(SECRET.encode() in part for part in parts)
    assert not any(b"MARK0FTHISSITE" in part for part in parts)
    _, out = run(image, version, "env; ls -A /tmp")
    assert "INDEX" not in out
    assert "CERT" not in out


def test_set_up_that_writes_a_secret_down_is_refused(repository, settings):
    settings.PIP_INDEX_URL = f"https://reader:{SECRET}@pypi.example/simple"
    with pytest.raises(TaskError, match=r"wrote the password.*/etc/pip\.conf") as error:
        make(repository, environment={"setup": ['echo "index-url=$PIP_INDEX_URL" > /etc/pip.conf']})
    assert SECRET not in str(error.value)
    assert engine.client().images(name="oneshot/environment", filters={"label": "oneshot.digest=x"}) == []


def test_own_dockerfile_is_built_with_the_repository_as_context(repository, git_image):
    dockerfile = f"""
FROM {git_image}
ARG WHO=dockerfile
WORKDIR /app
COPY calc.py /seen.py
RUN echo "made by $WHO" > /made.txt && useradd -m someone
ENV MODE=own
USER someone
"""
    image, version = make(repository, environment={"dockerfile": dockerfile})
    assert version.effective_environment()["workdir"] == "/app"
    _, out = run(
        image, version, "pwd; id -u; cat /seen.py /made.txt; echo $MODE; git status --short; git log --format=%s"
    )
    assert out.splitlines() == ["/app", "10001", "x = 1", "made by dockerfile", "own", "base"]
    assert images.checks(version, image, sandboxes.get("docker"))[0]["status"] == "ok"


def test_own_dockerfile_leaves_no_history_of_the_site_s_secrets(repository, settings, tmp_path, git_image):
    ca = tmp_path / "site-ca.pem"
    ca.write_text("-----BEGIN CERTIFICATE-----\nMARK0FTHISSITE\n-----END CERTIFICATE-----\n")
    settings.EXTRA_CA = str(ca)
    settings.PIP_INDEX_URL = f"https://reader:{SECRET}@pypi.example/simple"
    started = time.time() - 2
    dockerfile = f"""
FROM {git_image} AS first
RUN grep -q MARK0FTHISSITE "$PIP_CERT" && echo "$PIP_INDEX_URL" | grep -q reader
FROM {git_image}
ENV MODE=own
RUN [ -n "$PIP_INDEX_URL" ] && echo fine > /fine
COPY --from=first /etc/hostname /first
"""
    image, version = make(repository, environment={"dockerfile": dockerfile})
    client = engine.client()
    assert len(client.inspect_image(image.reference)["RootFS"]["Layers"]) == 1
    assert SECRET not in json.dumps([client.inspect_image(image.reference), client.history(image.reference)])
    search = f"grep -rlsE '{SECRET}|MARK0FTHISSITE' / --exclude-dir=proc --exclude-dir=sys"
    assert run(image, version, search, root=True)[1] == ""
    assert run(image, version, "cat /fine; echo $MODE; pwd; id -u") == (0, "fine\nown\n/work\n10001\n")
    newest = [left["Id"] for left in engine.client().images(all=True) if left["Created"] > started]
    assert newest
    assert not any(SECRET in json.dumps(engine.client().history(left)) for left in newest)


def test_own_dockerfile_with_the_repository_in_a_volume_is_refused(repository, git_image):
    dockerfile = f"FROM {git_image}\nVOLUME /srv\nWORKDIR /srv/app\n"
    with pytest.raises(TaskError, match="VOLUME /srv"):
        make(repository, environment={"dockerfile": dockerfile})


def test_own_dockerfile_that_fails_is_the_task_s_fault(repository):
    with pytest.raises(TaskError, match=r"own Dockerfile failed with exit status 9[\s\S]*some words"):
        make(repository, environment={"dockerfile": "FROM debian:bookworm-slim\nRUN echo some words; exit 9\n"})
    with pytest.raises(TaskError, match="own Dockerfile failed"):
        make(repository, environment={"dockerfile": "FROM debian:bookworm-slim\nRUNN echo\n"})


def test_pruned_image_is_built_again(repository):
    image, version = make(repository, files={"pruned.py": "x\n"})
    engine.client().remove_image(image.reference, force=True)
    again = images.ensure(version, "docker", log=Lines())
    assert again.pk == image.pk
    assert again.tries == 2
    assert run(again, version, "git log --format=%s") == (0, "base\n")


def test_builder_that_died_is_replaced_and_what_it_left_is_removed(repository, settings):
    image, version = make(repository, files={"died.py": "x\n"})
    engine.client().remove_image(image.reference, force=True)
    left = sandboxes.get("docker").create(
        SandboxSpec(image="debian:bookworm-slim", labels=images._labels(image), workdir="/", root=True)
    )
    Image.objects.filter(pk=image.pk).update(
        status=Image.Status.BUILDING, builder="elsewhere/1:7", heartbeat_at=timezone.now()
    )
    settings.LEASE_S = 1
    log = Lines()
    started = time.monotonic()
    again = images.ensure(version, "docker", log=log)
    assert again.status == Image.Status.READY
    assert again.tries == 2
    assert "another process builds this image" in log.text()
    assert "elsewhere/1:7 is gone" in log.text()
    assert time.monotonic() - started > 0.9
    assert left.id not in [container["Id"] for container in containers()]


def test_orphans_of_builds_are_swept_and_running_builds_are_not(repository):
    image, _ = make(repository)
    spec = SandboxSpec(image="debian:bookworm-slim", labels=images._labels(image), workdir="/", root=True)
    sandbox = sandboxes.get("docker").create(spec)
    Image.objects.filter(pk=image.pk).update(status=Image.Status.BUILDING, builder="x/1:7", heartbeat_at=timezone.now())
    assert images.remove_orphaned_builds() == 0
    Image.objects.filter(pk=image.pk).update(status=Image.Status.READY)
    assert images.remove_orphaned_builds() == 1
    assert sandbox.id not in [container["Id"] for container in containers()]


def test_stopping_a_build_leaves_nothing_behind_within_three_seconds(repository):
    class Stopped(Exception):
        pass

    log = Lines()
    stopped_at = []

    def alive():
        if "sleeping now" in log:
            stopped_at.append(time.monotonic())
            raise Stopped

    commit = repository.commit(**{"a": "a"})
    version = version_of(repository.path, commit, environment={**PLAIN, "setup": ["echo sleeping now", "sleep 300"]})
    with pytest.raises(Stopped):
        images.ensure(version, "docker", log=log, alive=alive)
    assert time.monotonic() - stopped_at[0] < 3
    assert containers() == []
    image = Image.objects.get()
    assert claims.is_abandoned(image)


def test_stopping_a_dockerfile_ends_its_build(repository):
    class Stopped(Exception):
        pass

    log = Lines()
    stopped_at = []

    def alive():
        if "Running in" in log.text().partition("RUN sleep 277")[2]:
            stopped_at.append(time.monotonic())
            raise Stopped

    commit = repository.commit(**{"a": "a"})
    dockerfile = f"FROM debian:bookworm-slim\nRUN sleep 277 # {time.time()}\n"
    version = version_of(repository.path, commit, environment={**PLAIN, "dockerfile": dockerfile})
    with pytest.raises(Stopped):
        images.ensure(version, "docker", log=log, alive=alive)
    assert time.monotonic() - stopped_at[0] < 3
    until = time.monotonic() + 15
    while any("sleep 277" in str(one["Command"]) for one in engine.client().containers()):
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.django_db(transaction=True)
def test_many_at_once_build_once_and_all_see_the_log(repository):
    commit = repository.commit(**{"a.txt": "a"})
    version = version_of(repository.path, commit, environment={**PLAIN, "setup": ["echo building here; sleep 1"]})
    logs = [Lines() for _ in range(3)]
    found = []

    def work(log):
        from django.db import connection

        from tasks.models import TaskVersion

        found.append(images.ensure(TaskVersion.objects.get(pk=version.pk), "docker", log=log))
        connection.close()

    threads = [threading.Thread(target=work, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len({image.reference for image in found}) == 1
    assert len(found) == 3
    assert Image.objects.get().tries == 1
    assert all("building here" in log for log in logs)
    assert sum("another process builds this image" in log.text() for log in logs) == 2


def test_failure_reaches_those_who_waited(repository):
    """The one who waited gets the builder's error, and does not build the same again."""
    commit = repository.commit(**{"a.txt": "a"})
    version = version_of(repository.path, commit, environment={**PLAIN, "setup": ["exit 5"]})
    with pytest.raises(TaskError):
        images.ensure(version, "docker", log=Lines())
    Image.objects.update(status=Image.Status.BUILDING, builder="elsewhere/1:7", heartbeat_at=timezone.now())
    asked = []

    def fail_meanwhile():
        asked.append(1)
        if len(asked) == 2:
            Image.objects.update(
                status=Image.Status.FAILED, finished_at=timezone.now(), fault="infra", error="No disk."
            )

    with pytest.raises(InfraError, match="No disk"):
        images.ensure(version, "docker", log=Lines(), alive=fail_meanwhile)
    assert Image.objects.get().tries == 1


def test_answer_in_the_image_is_found(repository):
    diff = (
        b"diff --git a/calc.py b/calc.py\n--- a/calc.py\n+++ b/calc.py\n@@ -1 +1,2 @@\n x = 1\n"
        b"+ANSWER = 'it was forty-two all the time, and nobody looked'\n"
    )
    leak = "ANSWER = 'it was forty-two all the time, and nobody looked'"
    image, version = make(repository, environment={"setup": [f'echo "{leak}" > notes.txt']}, diff=diff)
    row = images.checks(version, image, sandboxes.get("docker"))[2]
    assert row["status"] == "failed"
    assert "/work/notes.txt" in row["evidence"]


def test_a_sweep_leaves_the_sandbox_that_looks_into_an_image_alone(repository):
    image, version = make(repository)

    class Swept:
        def create(self, spec):
            sandbox = sandboxes.get("docker").create(spec)
            sweep.remove_orphaned_sandboxes()
            return sandbox

    rows = images.checks(version, image, Swept())
    assert [row["status"] for row in rows] == ["ok", "ok", "ok"]
