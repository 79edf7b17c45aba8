"""Which installation a command works for that is called where somebody works."""

import os

import pytest

from oneshot import places


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch, tmp_path):
    monkeypatch.delenv("ONESHOT_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(places, "__file__", str(tmp_path / "site-packages" / "oneshot" / "places.py"))


def make(folder):
    (folder / "var").mkdir(parents=True)
    (folder / "var" / places.DATABASE).touch()
    return folder


def test_what_is_named_comes_first_and_is_meant_from_here(monkeypatch, tmp_path):
    monkeypatch.setenv("ONESHOT_DATA_DIR", "data")
    assert places.data_dir(make(tmp_path / "a")) == tmp_path / "a" / "data"


def test_data_here_are_taken_but_never_those_of_a_repository(tmp_path):
    here = make(tmp_path / "a")
    assert places.data_dir(here) == here / "var"
    (here / ".git").mkdir()
    with pytest.raises(places.NoInstallation, match="ONESHOT_DATA_DIR"):
        places.data_dir(here)


def test_the_one_that_was_used_last_is_remembered(tmp_path):
    places.remember(make(tmp_path / "a") / "var")
    assert places.data_dir(tmp_path) == tmp_path / "a" / "var"


@pytest.mark.parametrize("text", ["", "relative/path", "/nowhere/at/all", "\0"])
def test_a_memory_that_leads_nowhere_is_ignored(tmp_path, text):
    (tmp_path / "state" / "oneshot").mkdir(parents=True)
    (tmp_path / "state" / "oneshot" / "data_dir").write_text(text)
    with pytest.raises(places.NoInstallation):
        places.data_dir(tmp_path)


def test_a_checkout_has_its_own(tmp_path):
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "manage.py").touch()
    assert places.data_dir(tmp_path) == tmp_path / "site-packages" / "var"


def test_settings_are_read_beside_the_data_and_not_where_someone_works(monkeypatch, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr(places, "_started_in", None)
    monkeypatch.setenv("ONESHOT_DATA_DIR", str(tmp_path / "a" / "var"))
    places.enter()
    assert places.started_in() == work
    assert os.getcwd() == str(tmp_path / "a")
    assert (tmp_path / "a" / "var").is_dir()
