"""Archives of tasks are unpacked whatever they try, and never beyond their own directory."""

import contextlib
import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.actions import import_tasks
from tasks.formats import archives
from tasks.models import Task
from tests.builders import make_team
from tests.tasks.builders import make_repository, write_task

pytestmark = pytest.mark.django_db


@pytest.fixture
def team():
    return make_team()


def pack(archive: Path, directory: Path, inside: str = "") -> Path:
    """Pack a directory by the archive's name, below `inside`."""
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted(directory.rglob("*")):
                file.write(path, f"{inside}{path.relative_to(directory)}")
    else:
        with tarfile.open(archive, "w:gz" if archive.name.endswith("gz") else "w") as file:
            file.add(directory, inside or ".")
    return archive


def tar_with(archive: Path, *members: tarfile.TarInfo, data: bytes = b"x") -> Path:
    with tarfile.open(archive, "a") as file:
        for member in members:
            member.size = len(data) if member.isreg() else 0
            file.addfile(member, io.BytesIO(data))
    return archive


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def one_problem(path, team):
    (result,) = import_tasks([path], team=team)
    assert result.result == "refused"
    assert not Task.objects.exists()
    (problem,) = result.problems
    return problem


@pytest.mark.parametrize("name", ["tasks.zip", "tasks.tar", "tasks.tar.gz", "tasks.tgz"])
def test_archives_of_one_task_and_of_many(tmp_path, team, name):
    write_task(tmp_path / "all" / "a", {"task_id": "a"})
    write_task(tmp_path / "all" / "b", {"task_id": "b"}, layout="prepared", files={"overlay_repo_files/x.sh": "x"})
    (tmp_path / "all" / "b" / "overlay_repo_files" / "x.sh").chmod(0o755)
    results = import_tasks([pack(tmp_path / name, tmp_path / "all")], team=team)
    assert [(result.result, result.path) for result in results] == [
        ("new", f"{tmp_path}/{name}/a"),
        ("new", f"{tmp_path}/{name}/b"),
    ]
    assert Task.objects.get(slug="b").current_version.overlay_files[0]["mode"] == "100755"
    single = pack(tmp_path / f"single-{name}", tmp_path / "all" / "a")
    assert import_tasks([single], team=team)[0].result == "unchanged"


def test_a_task_without_an_id_is_called_after_its_archive(tmp_path, team):
    path = write_task(tmp_path / "x", {"task_id": ..., "metadata": {}}, instructions="Do.")
    assert import_tasks([pack(tmp_path / "my-task.tar.gz", path)], team=team)[0].slug == "my-task"


def test_a_folder_may_hold_archives(tmp_path, team):
    write_task(tmp_path / "folder" / "a", {"task_id": "a"})
    pack(tmp_path / "folder" / "b.zip", write_task(tmp_path / "b", {"task_id": "b"}))
    assert [result.result for result in import_tasks([tmp_path / "folder"], team=team)] == ["new", "new"]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("../evil.txt", "leaves"),
        ("a/../../evil.txt", "leaves"),
        ("/tmp/evil.txt", "absolute"),
        ("C:/evil.txt", "absolute"),
        ("a\\..\\evil.txt", "backslash"),
        ("a/" * 50 + "x", "too deep"),
    ],
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_leave_the_archive_refuse_it(tmp_path, team, name, word, kind):
    write_task(tmp_path / "in" / "a", {"task_id": "a"})
    archive = pack(tmp_path / f"x.{kind}", tmp_path / "in")
    if kind == "zip":
        with zipfile.ZipFile(archive, "a") as file:
            file.writestr(name, "evil")
    else:
        tar_with(archive, member(name))
    before = sorted(tmp_path.parent.rglob("*"))
    assert word in one_problem(archive, team).message
    assert sorted(tmp_path.parent.rglob("*")) == before


@pytest.mark.parametrize(
    "special",
    [
        member("a/overlay_repo_files/link", tarfile.SYMTYPE, "/etc/passwd"),
        member("a/LINK.md", tarfile.LNKTYPE, "a/tb_meta.json"),
        member("a/device", tarfile.CHRTYPE),
        member("a/pipe", tarfile.FIFOTYPE),
        member("a/.git/hooks/x"),
    ],
)
def test_a_link_or_device_refuses_the_task_it_lies_in_and_no_other(tmp_path, team, special):
    write_task(tmp_path / "in" / "a", {"task_id": "a"})
    write_task(tmp_path / "in" / "b", {"task_id": "b"})
    archive = tar_with(pack(tmp_path / "x.tar", tmp_path / "in"), special)
    first, second = import_tasks([archive], team=team)
    assert (first.result, second.result) == ("refused", "new")
    assert [problem.file for problem in first.problems] == [special.name.removeprefix("a/")]


def test_a_link_in_a_zip_is_no_file(tmp_path, team):
    archive = pack(tmp_path / "x.zip", write_task(tmp_path / "in"))
    link = zipfile.ZipInfo("overlay_files/LM_INSTRUCTIONS.md")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(link, "/etc/passwd")
    assert "is a link" in one_problem(archive, team).message


def test_a_link_in_the_place_of_a_whole_task_is_reported(tmp_path, team):
    write_task(tmp_path / "in" / "a", {"task_id": "a"})
    archive = tar_with(pack(tmp_path / "x.tar", tmp_path / "in"), member("b", tarfile.SYMTYPE, "/etc"))
    assert [result.result for result in import_tasks([archive], team=team)] == ["new", "refused"]


@pytest.mark.parametrize("name", ["bomb.zip", "bomb.tar.gz"])
def test_a_bomb_is_refused_before_it_unfolds(tmp_path, team, name):
    zeros = tmp_path / "in" / "task" / "overlay_repo_files"
    write_task(tmp_path / "in" / "task", layout="prepared")
    for number in range(3):
        (zeros / f"{number}.bin").write_bytes(bytes(20_000_000))
    problem = one_problem(pack(tmp_path / name, tmp_path / "in"), team)
    assert "as a bomb does" in problem.message


def test_a_huge_tar_header_is_counted_too(tmp_path, team, monkeypatch):
    monkeypatch.setattr(archives, "MAX_TOTAL_BYTES", 1_000_000)
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as file:
        info = member("a.txt")
        info.pax_headers = {"comment": "x" * 3_000_000}
        file.addfile(info)
    assert "unpacks to more than 1,000,000 bytes" in one_problem(tmp_path / "x.tar.gz", team).message


def test_too_many_or_too_large_members_are_refused(tmp_path, team, monkeypatch):
    archive = pack(tmp_path / "x.zip", write_task(tmp_path / "in"))
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    assert "more than 3 members" in one_problem(archive, team).message
    monkeypatch.setattr(archives, "MAX_MEMBERS", 50)
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 10)
    assert "more than 10 bytes" in one_problem(archive, team).message
    monkeypatch.setattr(archives, "MAX_ARCHIVE_BYTES", 10)
    assert "at most 10 are read" in one_problem(archive, team).message


def test_a_name_that_occurs_twice_is_ambiguous(tmp_path, team):
    archive = tar_with(pack(tmp_path / "x.tar", write_task(tmp_path / "in"), "t"), member("t/tb_meta.json"))
    assert "twice" in one_problem(archive, team).message


def test_an_encrypted_zip_is_told_so(tmp_path, team):
    archive = pack(tmp_path / "x.zip", write_task(tmp_path / "in"))
    data = bytearray(archive.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    archive.write_bytes(data)
    assert "encrypted" in one_problem(archive, team).message


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz"])
@pytest.mark.parametrize("content", [b"", b"no archive at all", b"PK\x03\x04 broken", b"\x1f\x8b\x08 broken"])
def test_what_is_no_archive_is_told_so(tmp_path, team, name, content):
    (tmp_path / name).write_bytes(content)
    assert one_problem(tmp_path / name, team).file == name


@pytest.mark.parametrize("name", ["x.zip", "x.tar.gz"])
def test_a_truncated_archive_stores_nothing(tmp_path, team, name):
    write_task(tmp_path / "in", files={"overlay_repo_files/x.bin": bytes(range(256)) * 2000})
    archive = pack(tmp_path / name, tmp_path / "in", "t")
    archive.write_bytes(archive.read_bytes()[:-600])
    assert one_problem(archive, team).file == name


def test_a_repository_inside_of_an_archive_is_gone_after_the_import(tmp_path, team):
    commit = make_repository(tmp_path / "in" / "repo", {"adder.py": "x = 1\n"})
    (tmp_path / "in" / "repo" / ".git").rename(tmp_path / "in" / "repo" / "git")
    write_task(tmp_path / "in", {"repo.git_url": "./repo", "repo.start_commit_sha": commit})
    assert "Unpack it first" in one_problem(pack(tmp_path / "x.zip", tmp_path / "in"), team).message


NAMES = st.text(st.sampled_from("ab./\\\0 :é"), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    members=st.lists(
        st.tuples(NAMES, st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE]), NAMES),
        max_size=6,
    )
)
def test_no_archive_writes_outside_or_makes_a_link(tmp_path_factory, members):
    top = tmp_path_factory.mktemp("archive")
    archive = top / "x.tar"
    with tarfile.open(archive, "w") as file:
        for name, kind, target in members:
            info = member(name, kind, target)
            info.size = 3 if kind == tarfile.REGTYPE else 0
            file.addfile(info, io.BytesIO(b"abc"))
    (top / "out").mkdir()
    with contextlib.suppress(archives.ArchiveRefused):
        archives.unpack(archive, top / "out")
    assert sorted(path.name for path in top.iterdir()) == ["out", "x.tar"]
    assert not [path for path in top.rglob("*") if path.is_symlink()]
