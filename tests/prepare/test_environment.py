"""What a task may declare about its environment, and which word counts where several are spoken."""

import pytest

from tasks.environment import problems, resolve


def test_a_full_environment_has_no_problems():
    environment = {
        "languages": ["python"],
        "base_image": "ghcr.io/acme/python:3.12@sha256:" + "0" * 64,
        "packages": ["libpq-dev", "g++", "linux-headers-6.1", "python3=3.11.2-1+b1"],
        "setup": ["pip install -e .[test]", "make"],
        "env": {"A": "1", "B_2": 3},
        "workdir": "/srv/app",
        "test_framework": "pytest",
        "test_command": 'make junit > "$ONESHOT_JUNIT"',
        "timeout_s": 60,
        "test_timeout_s": 60.5,
        "memory_mb": 1024,
        "cpus": 0.5,
        "pids": 100,
        "disk_mb": 1000,
        "network": "none",
        "dockerfile": "FROM scratch",
    }
    assert problems(environment) == []
    assert problems({"setup": "one line\nand another"}) == []
    assert problems({"env": None, "packages": None}) == []


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("pakages", ["git"], "environment.pakages"),
        ("packages", "git", "environment.packages"),
        ("packages", ["git; rm -rf /"], "environment.packages[0]"),
        ("packages", ["ok", "-o=x"], "environment.packages[1]"),
        ("base_image", "--privileged", "environment.base_image"),
        ("setup", [1], "environment.setup[0]"),
        ("setup", ["a\0b"], "environment.setup[0]"),
        ("env", {"1A": "x"}, "environment.env.1A"),
        ("env", {"HOME": "/"}, "environment.env.HOME"),
        ("env", {"ONESHOT_JUNIT": "/x"}, "environment.env.ONESHOT_JUNIT"),
        ("env", {"A": ["x"]}, "environment.env.A"),
        ("workdir", "work", "environment.workdir"),
        ("workdir", "/", "environment.workdir"),
        ("workdir", "/a/../etc", "environment.workdir"),
        ("workdir", "/etc/x", "environment.workdir"),
        ("workdir", "/opt", "environment.workdir"),
        ("workdir", "/home", "environment.workdir"),
        ("test_framework", "jests", "environment.test_framework"),
        ("timeout_s", 0, "environment.timeout_s"),
        ("timeout_s", True, "environment.timeout_s"),
        ("timeout_s", "60", "environment.timeout_s"),
        ("memory_mb", 10.5, "environment.memory_mb"),
        ("network", "some", "environment.network"),
        ("languages", ["cobol"], "environment.languages[0]"),
    ],
)
def test_a_wrong_value_names_its_place(field, value, place):
    found = problems({field: value})
    assert [problem.field for problem in found] == [place]
    assert found[0].file == "tb_meta.json"
    assert found[0].message.endswith(".")


def test_an_environment_that_is_no_object_is_a_problem():
    assert problems(["git"])[0].field == "environment"


def test_declared_goes_over_detected_goes_over_the_site(settings):
    settings.BASE_IMAGE = "site:1"
    settings.MEMORY_MB = 777
    detected = {"packages": ["a"], "setup": ["x"], "env": {"A": "1", "B": "1"}, "guesses": ["words"]}
    found = resolve({"setup": ["y"], "env": {"B": 2}, "memory_mb": None}, detected)
    assert found["base_image"] == "site:1"
    assert found["memory_mb"] == 777
    assert found["packages"] == ["a"]
    assert found["setup"] == ["y"]
    assert found["env"] == {"A": "1", "B": "2"}
    assert found["network"] == "model-only"
    assert found["test_framework"] == "pytest"
    assert "guesses" not in found


def test_nothing_said_and_nothing_seen_gives_every_field():
    found = resolve({}, None)
    assert found["workdir"] == "/work"
    assert found["setup"] == []


def test_text_of_several_lines_is_one_set_up_script():
    assert resolve({"setup": "a\nb"}, None)["setup"] == ["a\nb"]
    assert resolve({"setup": "  "}, None)["setup"] == []


def test_own_dockerfile_replaces_what_was_detected_and_names_the_directory():
    detected = {"packages": ["a"], "setup": ["x"], "languages": ["python"], "test_framework": "unittest"}
    found = resolve({"dockerfile": "FROM x\nWORKDIR /a\nRUN y\nworkdir /srv/app/\n"}, detected)
    assert (found["packages"], found["setup"], found["languages"]) == ([], [], [])
    assert found["test_framework"] == "unittest"
    assert found["workdir"] == "/srv/app"
    assert resolve({"dockerfile": "FROM x\nWORKDIR $HOME/x\n"}, None)["workdir"] == "/work"
    assert resolve({"dockerfile": "FROM x\nWORKDIR /a\n", "workdir": "/b"}, None)["workdir"] == "/b"
