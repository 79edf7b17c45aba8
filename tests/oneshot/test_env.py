"""Settings are typed: a wrong value stops the start and names the variable."""

import pytest

from oneshot.env import SettingError, env_bool, env_choice, env_float, env_int, env_list, env_secret


@pytest.mark.parametrize(("text", "value"), [("1", True), ("Yes", True), ("off", False), ("", False)])
def test_reads_yes_and_no(monkeypatch, text, value):
    monkeypatch.setenv("X", text)
    assert env_bool("X", not value) is value


@pytest.mark.parametrize(
    ("reader", "text", "words"),
    [
        (lambda: env_bool("X", True), "maybe", "X='maybe' is neither yes nor no"),
        (lambda: env_int("X", 5), "five", "X='five' is not a whole number"),
        (lambda: env_int("X", 5, least=1), "0", "X=0 is too small"),
        (lambda: env_float("X", 1.5), "fast", "X='fast' is not a number"),
        (lambda: env_choice("X", "a", ("a", "b")), "c", "X='c' is not one of a, b"),
    ],
)
def test_a_wrong_value_names_the_variable(monkeypatch, reader, text, words):
    monkeypatch.setenv("X", text)
    with pytest.raises(SettingError, match=words):
        reader()


def test_a_secret_may_lie_in_a_file(monkeypatch, tmp_path):
    (tmp_path / "key").write_text("s3cret\n")
    monkeypatch.setenv("X_FILE", str(tmp_path / "key"))
    assert env_secret("X") == "s3cret"


def test_a_secret_file_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setenv("X_FILE", "/nowhere/key")
    with pytest.raises(SettingError, match="X_FILE='/nowhere/key' cannot be read"):
        env_secret("X")


def test_a_list_is_cut_at_commas(monkeypatch):
    monkeypatch.setenv("X", "a, b,,c")
    assert env_list("X") == ["a", "b", "c"]
