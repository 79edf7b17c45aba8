"""`capture install` and `uninstall`: nothing of the user's is lost, and the very same bytes come back."""

import json
import os
import stat
import tomllib
from io import StringIO

import pytest
from django.core.management import call_command

from oneshot import places
from tasks.capture import installing
from tasks.capture.stanza import Stanza

SERVER = Stanza("/venv/bin/python", ["-m", "oneshot"], {"ONESHOT_DATA_DIR": "/data"})
CONFIG = """\
# My own comment
model = "gpt-6"   # the good one

[mcp_servers.other]
command = 'x'
args = [ "a",
         "b" ]

[projects."/home/me/x"]
trust_level = "trusted"
"""
CLAUDE = (
    '{\n  "numStartups": 7,\n  "größe": "ü",\n  "mcpServers": {\n    "other": {"command": "x"}\n  },\n  "last": null\n}'
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "codex"))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    return tmp_path


@pytest.fixture
def records(tmp_path):
    return tmp_path / "records"


def put(agent, data):
    path = installing.place(agent, project=None).path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def install(agent, records, server=SERVER):
    return installing.install(installing.place(agent, project=None), server, records=records)


def uninstall(agent, records):
    return installing.uninstall(installing.place(agent, project=None), records=records)


def parsed(path):
    return tomllib.loads(path.read_text()) if path.suffix == ".toml" else json.loads(path.read_text())


FILES = [
    ("codex", CONFIG),
    ("codex", ""),
    ("codex", "\n\n# only a comment"),
    ("codex", CONFIG.replace("\n", "\r\n")),
    ("codex", 'mcp_servers = { other = { command = "x" } }\n'),
    ("codex", 'mcp_servers.other.command = "x"\n[zz]\na=1'),
    ("codex", '[mcp_servers.oneshot]\ncommand = "the original"\nargs = []\n\n[after]\nb = 2\n'),
    ("codex", "[mcp_servers]\n\n[features]\nx = true\n"),
    ("claude", CLAUDE),
    ("claude", "{}"),
    ("claude", '{"a":1}\n'),
    ("claude", '{\n\t"mcpServers": {"oneshot": {"command": "the original"}}\n}\n'),
]


@pytest.mark.parametrize(("agent", "before"), FILES)
def test_uninstalling_gives_back_the_very_same_bytes(agent, before, records):
    path = put(agent, before)
    path.chmod(0o640)
    done = install(agent, records)
    assert done.change == "added"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    entry = installing.place(agent, project=None).entry(path.read_text())
    assert entry["command"] == SERVER.command
    again = install(agent, records)
    assert again.change == "unchanged"
    assert uninstall(agent, records).change == "restored"
    assert path.read_bytes() == before.encode()
    assert os.listdir(path.parent) == [path.name]
    assert list(records.iterdir()) == []
    assert uninstall(agent, records).change in ("absent", "removed")


def test_all_of_the_users_words_stay_where_they_were(records):
    path = put("codex", CONFIG)
    install("codex", records)
    lines = path.read_text().splitlines()
    assert [line for line in lines if line in CONFIG.splitlines()][: len(CONFIG.splitlines())] == CONFIG.splitlines()
    backup = path.with_name("config.toml.before-oneshot")
    assert backup.read_text() == CONFIG


@pytest.mark.parametrize("agent", ["codex", "claude"])
def test_a_file_that_was_not_there_goes_again(agent, records):
    done = install(agent, records)
    assert done.change == "added"
    assert stat.S_IMODE(done.path.stat().st_mode) == 0o600
    assert uninstall(agent, records).change == "restored"
    assert not done.path.exists()


@pytest.mark.parametrize(
    ("agent", "before", "change"),
    [
        ("codex", CONFIG, lambda text: text.replace('"gpt-6"', '"gpt-7"') + "\n[new]\nx = 1\n"),
        ("claude", CLAUDE, lambda text: text.replace('"numStartups": 7', '"numStartups": 8')),
    ],
)
def test_what_was_changed_since_stays_changed(agent, before, change, records):
    path = put(agent, before)
    install(agent, records)
    path.write_text(change(path.read_text()))
    done = uninstall(agent, records)
    assert done.change == "removed"
    expected = tomllib.loads(change(before)) if agent == "codex" else json.loads(change(before))
    assert parsed(path) == expected


def test_a_server_of_the_same_name_comes_back_even_then(records):
    path = put("codex", '[mcp_servers.oneshot]\ncommand = "the original"\n')
    install("codex", records)
    path.write_text(path.read_text() + "\n[new]\nx = 1\n")
    uninstall("codex", records)
    assert parsed(path) == {"mcp_servers": {"oneshot": {"command": "the original"}}, "new": {"x": 1}}


def test_another_installation_brings_the_entry_up_to_date(records):
    path = put("codex", CONFIG)
    install("codex", records)
    moved = Stanza("/elsewhere/python", SERVER.args, SERVER.env)
    assert install("codex", records, moved).change == "updated"
    assert parsed(path)["mcp_servers"]["oneshot"]["command"] == "/elsewhere/python"
    assert uninstall("codex", records).change == "restored"
    assert path.read_text() == CONFIG


@pytest.mark.parametrize(
    ("agent", "broken", "says"),
    [
        ("codex", "= broken", "no valid TOML"),
        ("codex", b"\xff\xfe", "not UTF-8"),
        ("claude", "{broken", "no valid JSON"),
        ("claude", "[]", "not an object"),
        ("claude", '{"mcpServers": []}', "not an object"),
    ],
)
def test_a_broken_file_is_named_and_left_as_it_is(agent, broken, says, records):
    path = put(agent, broken)
    before = path.read_bytes()
    for act in (install, uninstall):
        with pytest.raises(installing.CannotInstall, match=says) as caught:
            act(agent, records)
        assert str(path) in str(caught.value)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_linked_file_is_changed_where_it_lies(records, tmp_path):
    dotfiles = tmp_path / "dotfiles" / "codex.toml"
    dotfiles.parent.mkdir()
    dotfiles.write_text(CONFIG)
    link = installing.place("codex", project=None).path
    link.parent.mkdir()
    link.symlink_to(dotfiles)
    done = install("codex", records)
    assert any("is a link" in note for note in done.notes)
    assert link.is_symlink()
    assert "oneshot" in parsed(dotfiles)["mcp_servers"]
    uninstall("codex", records)
    assert link.is_symlink()
    assert dotfiles.read_text() == CONFIG


def test_a_folder_in_the_files_place_is_told(records):
    installing.place("codex", project=None).path.mkdir(parents=True)
    with pytest.raises(installing.CannotInstall, match="is not a file"):
        install("codex", records)


def test_a_file_that_cannot_be_written_is_told_and_left(records, monkeypatch):
    path = put("codex", CONFIG)

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    # Root may write everywhere, so the refusal is played.
    monkeypatch.setattr(installing.tempfile, "mkstemp", refuse)
    with pytest.raises(installing.CannotInstall, match="cannot be written: Permission denied"):
        install("codex", records)
    assert path.read_text() == CONFIG


def test_a_change_by_another_program_at_the_same_time_is_not_overwritten(records):
    path = put("claude", CLAUDE)
    place = installing.place("claude", project=None)

    def put_slowly(text, server):
        new = installing._put_json(text, server)
        path.write_text('{"numStartups": 8}')
        return new

    slow = installing.Place(place.path, place.read, put_slowly, place.take, place.servers)
    with pytest.raises(installing.CannotInstall, match="another program"):
        installing.install(slow, SERVER, records=records)
    assert path.read_text() == '{"numStartups": 8}'


@pytest.mark.parametrize(("agent", "name"), [("codex", ".codex/config.toml"), ("claude", ".mcp.json")])
def test_a_project_has_files_of_its_own(git_repository, monkeypatch, settings, tmp_path, agent, name):
    repository = git_repository({"a.py": "a\n"})
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(places, "_started_in", repository / "deep" / "er")
    settings.DATA_DIR = tmp_path / "data"
    call_command("capture", "install", agent, "--project", stdout=StringIO(), stderr=StringIO())
    document = parsed(repository / name)
    entry = document["mcp_servers" if agent == "codex" else "mcpServers"]["oneshot"]
    assert entry["env"]["ONESHOT_DATA_DIR"] == str(tmp_path / "data")
    call_command("capture", "uninstall", agent, "--project", stdout=StringIO(), stderr=StringIO())
    assert not (repository / name).exists()


@pytest.mark.codex
def test_codex_knows_what_was_installed(person):
    person.run("capture", "install", "codex")
    (server,) = json.loads(person.run("codex", "mcp", "list", "--json").stdout)
    assert server["name"] == "oneshot"
    assert server["enabled"] is True


@pytest.mark.claude
def test_claude_reaches_what_was_installed(person):
    person.run("capture", "install", "claude")
    assert "Connected" in person.run("claude", "mcp", "list").stdout


def test_after_an_install_the_installation_is_found_from_anywhere(person):
    person.run("capture", "install", "codex")
    person.run("capture", "start", "Mend add")
    person.env.pop("ONESHOT_DATA_DIR")
    found = json.loads(person.run("capture", "status", "--json").stdout)["captures"]
    assert [one["title"] for one in found] == ["Mend add"]
