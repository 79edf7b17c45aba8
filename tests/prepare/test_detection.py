"""What a repository's files tell about how it is installed and tested."""

import json

import pytest

from tasks.detection import Files, detect
from tasks.environment import problems

TEST = b"import pytest\n\ndef test_a():\n    pass\n"


PROJECT = '[project]\nname="a"\n'
POETRY = '[tool.poetry]\nname="a"\n[tool.poetry.group.test.dependencies]\n'


def guess(files, **options):
    found = detect(Files({path: text.encode() for path, text in files.items()}), **options)
    fields = {name: value for name, value in found.items() if name != "guesses"}
    assert problems(fields) == []
    return found


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"pyproject.toml": PROJECT + '[project.optional-dependencies]\ntests=["pytest"]\ndocs=["sphinx"]\n'},
            '".[tests]"',
        ),
        ({"pyproject.toml": PROJECT + '[project.optional-dependencies]\ndev=["pytest"]\n'}, '".[dev]"'),
        ({"pyproject.toml": PROJECT + '[dependency-groups]\ntest=["pytest"]\ndev=["x"]\n'}, "--group test"),
        (
            {"setup.py": 'from setuptools import setup\nX={"test": ["a"]}\nsetup(name="a", extras_require=X)\n'},
            '".[test]"',
        ),
        ({"setup.cfg": "[metadata]\nname=a\n[options.extras_require]\ntesting =\n  pytest\n"}, '".[testing]"'),
        ({"setup.py": "setup()", "PKG-INFO": "Metadata-Version: 2.1\nName: a\nProvides-Extra: test\n"}, '".[test]"'),
        (
            {"setup.py": "setup()", "requirements-test.txt": "x", "requirements-dev.txt": "y"},
            "-r requirements-test.txt || true",
        ),
        ({"setup.py": "setup()", "requirements/dev.txt": "y"}, "-r requirements/dev.txt || true"),
        ({"requirements.txt": "flask", "app.py": ""}, "-r requirements.txt"),
        (
            {
                "setup.py": "setup()",
                "tox.ini": "[testenv]\ndeps =\n  freezegun>=1\n  py37: mock\n  -rreq.txt\n  sphinx\n",
            },
            "install 'freezegun>=1' ||",
        ),
        ({"pyproject.toml": POETRY + 'responses="^0.20"\nlocal={path="x"}\n'}, "'responses>=0.20'"),
        ({"pyproject.toml": PROJECT + '[tool.hatch.envs.default]\ndependencies=["respx"]\n'}, "respx"),
        ({"setup.py": "setup()", "Pipfile": '[dev-packages]\nresponses="*"\nblack="*"\n'}, "install responses ||"),
        ({"setup.py": "setup()", "pytest.ini": "[pytest]\naddopts = --cov=a -n auto\n"}, "pytest-cov pytest-xdist"),
        ({"setup.py": "setup()", "tests/test_a.py": "import hypothesis\nimport evil_name\n"}, "install hypothesis ||"),
        (
            {"setup.py": "setup()", "tests/test_a.py": "def test_a(mocker, tmp_path):\n  pass\n"},
            "install pytest-mock ||",
        ),
    ],
)
def test_python_projects_are_installed_with_what_their_tests_need(files, expected):
    found = guess({"tests/test_b.py": "def test_b(): pass", **files})
    assert expected in "\n".join(found["setup"])
    assert found["languages"] == ["python"]
    assert found["test_framework"] == "pytest"
    assert "evil" not in str(found)


def test_fixtures_and_modules_of_the_repository_itself_are_not_installed():
    found = guess(
        {
            "setup.py": "setup()",
            "mock.py": "",
            "tests/conftest.py": "import pytest\n@pytest.fixture\ndef mocker():\n    pass\n",
            "tests/test_a.py": "import mock\ndef test_a(mocker): pass\n",
        }
    )
    assert "mock" not in "\n".join(found["setup"])


def test_extra_that_cannot_be_installed_does_not_stop_the_build():
    found = guess({"pyproject.toml": PROJECT + '[project.optional-dependencies]\ntest=["x"]\n'})
    install = "python -m pip install -e"
    tries = [f"{install} \".[test]\" 'pytest<9'", f'{install} ".[test]"', f"{install} . 'pytest<9'"]
    assert found["setup"][0] == " || ".join([*tries, f"{install} . --no-build-isolation"])


def test_plain_unittest_files_need_nothing():
    found = guess({"calc.py": "", "tests/test_calc.py": "import unittest\nclass T(unittest.TestCase): pass\n"})
    assert found["setup"] == []
    assert found["packages"] == []
    assert found["test_framework"] == "unittest"


def test_bare_functions_are_pytest_s():
    assert guess({"test_a.py": "def test_a(): assert True\n"})["test_framework"] == "pytest"


@pytest.mark.parametrize(
    ("text", "packages"),
    [
        ('[build-system]\nrequires=["setuptools","cython"]\n', ["build-essential", "python3-dev"]),
        ('[build-system]\nrequires=["meson-python"]\n', ["build-essential", "python3-dev"]),
        ('[build-system]\nrequires=["maturin"]\n', ["build-essential", "cargo", "python3-dev", "rustc"]),
        ('[build-system]\nrequires=["hatchling"]\n', []),
    ],
)
def test_compiled_projects_get_a_compiler(text, packages):
    assert guess({"pyproject.toml": text})["packages"] == packages
    assert guess({"setup.py": "setup(ext_modules=[Extension('a', ['a.c'])])"})["packages"] == [
        "build-essential",
        "python3-dev",
    ]


def test_version_from_tags_is_given_where_there_are_no_tags():
    scm = {"pyproject.toml": '[build-system]\nrequires=["setuptools_scm"]\n[project]\nname="a"\ndynamic=["version"]\n'}
    assert guess(scm, version="4.2.dev3")["env"] == {"SETUPTOOLS_SCM_PRETEND_VERSION": "4.2.dev3"}
    assert guess({**scm, "PKG-INFO": "Name: a\nVersion: 1.5\n"})["env"] == {"SETUPTOOLS_SCM_PRETEND_VERSION": "1.5"}
    assert guess(scm)["env"] == {"SETUPTOOLS_SCM_PRETEND_VERSION": "99.0.0"}
    assert guess({"setup.py": "setup(setup_requires=['pbr'], pbr=True)"}, version="2.0")["env"] == {
        "PBR_VERSION": "2.0"
    }


def test_newer_python_asks_for_a_base_image_that_has_it():
    found = guess({"pyproject.toml": '[project]\nname="a"\nrequires-python=">=3.13"\n'})
    assert found["base_image"] == "python:3.13-slim-bookworm"
    assert "base_image" not in guess({"pyproject.toml": '[project]\nname="a"\nrequires-python=">=3.9,<4"\n'})


def test_node_projects():
    package = {"scripts": {"test": "node --test"}, "devDependencies": {"left-pad": "1"}}
    found = guess({"package.json": json.dumps(package), "package-lock.json": "{}"})
    assert found["languages"] == ["node"]
    assert found["setup"] == ["npm ci || npm install"]
    assert found["test_framework"] == "node"
    assert guess({"package.json": "{}"})["setup"] == []
    vitest = guess({"package.json": json.dumps({"scripts": {"test": "vitest"}, "dependencies": {"vitest": "1"}})})
    assert vitest["test_framework"] == "script"
    assert "$ONESHOT_JUNIT" in vitest["test_command"]


def test_go_rust_and_shell_projects():
    go = guess({"go.mod": "module a\nrequire x v1\n"})
    assert (go["languages"], go["test_framework"]) == (["go"], "go")
    assert "go mod download" in go["setup"]
    rust = guess({"Cargo.toml": ""})
    assert (rust["languages"], rust["test_framework"]) == (["rust"], "rust")
    shell = guess({"run.sh": "", "tests/a b/run.bats": ""})
    assert shell["packages"] == ["bats"]
    assert "'tests/a b'" in shell["test_command"]


def test_python_tests_decide_where_languages_meet():
    both = {
        "package.json": '{"scripts": {"test": "jest"}}',
        "setup.py": "setup()",
        "tests/test_a.py": "def test_a(): pass",
    }
    assert guess(both)["test_framework"] == "pytest"
    assert guess(both)["languages"] == ["node", "python"]
    helper = {"package.json": '{"scripts": {"test": "node --test"}}', "tools/build.py": ""}
    assert guess(helper)["languages"] == ["node"]


def test_hidden_tests_in_python_bring_pytest_into_any_repository():
    found = guess({"run.sh": "echo"}, hidden_tests={"tests/test_run.py": TEST})
    assert found["languages"] == ["python"]
    assert found["test_framework"] == "pytest"
    node = guess({"package.json": "{}"}, hidden_tests={"tests/test_run.py": TEST})
    assert node["languages"] == ["node", "python"]
    assert node["test_framework"] == "pytest"


@pytest.mark.parametrize(
    "files",
    [
        {"pyproject.toml": "[[[", "setup.cfg": "x", "setup.py": "def (", "tox.ini": "[", "package.json": "[1"},
        {"pyproject.toml": 'project = 3\ntool = "x"\nbuild-system = []\n', "package.json": '{"scripts": 3}'},
        {"setup.py": "setup(extras_require={**A, 'test': B}, tests_require=f())", "Pipfile": "x"},
        {"pyproject.toml": '[tool.poetry]\ndev-dependencies = {a = [{version="1"}], python = "3"}\n'},
        {"setup.py": "(" * 5000},
        {},
    ],
)
def test_broken_files_make_a_poorer_guess_and_no_error(files):
    guess(files)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("setup.cfg", "[options.extras_require]\ntest = pytest>=7\n", "'pytest<9'"),
        ("setup.cfg", "[tool:pytest]\nminversion = 6.0\n", "'pytest<9'"),
        ("requirements-test.txt", "pytest==8.3.2\npytest-cov==9.1\n", "'pytest<9'"),
        ("requirements-test.txt", "pytest\ncoverage>=10\n", "'pytest<9'"),
        ("requirements-test.txt", "pytest[dev]>=9.0\n", "pytest"),
        ("requirements-test.txt", "pytest==10.1\n", "pytest"),
        ("tox.ini", "[pytest]\nminversion = 9\n", "pytest"),
        ("Pipfile", '[dev-packages]\npytest = ">=9"\n', "pytest"),
        ("Pipfile", '[dev-packages]\npytest = {version = ">=9.1"}\n', "pytest"),
        ("pytest.toml", "[pytest]\n", "pytest"),
    ],
)
def test_a_project_gets_a_pytest_that_older_suites_know_unless_a_later_one_is_asked_for(name, text, expected):
    found = guess({"setup.py": "setup()", "tests/test_b.py": "def test_b(): pass", name: text})
    assert f" {expected} || python -m pip install -e " in found["setup"][0]
    assert found["setup"][-1] == f"python -m pytest --version || python -m pip install {expected}"


def test_a_repository_that_is_not_installed_gets_its_pytest_last():
    found = guess({"requirements.txt": "pytest==7.1\n", "tests/test_b.py": "def test_b(): pass"})
    assert found["setup"] == ["python -m pip install -r requirements.txt", "python -m pip install 'pytest<9'"]
