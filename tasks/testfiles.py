"""Which files of a repository are tests, and which steer the test runner, judged by name alone.

The usual conventions of the languages are followed; what a name cannot tell, such as tests inside a source file,
counts as code.
"""

import re
from pathlib import PurePosixPath

# A file anywhere below one of these is a test or serves one.
TEST_DIRECTORIES = {"tests", "__tests__", "__mocks__", "__snapshots__", "testdata", "test_data", "unittests", "e2e"}

# Below one of these too, but only at the top: `numpy/testing` and `django/test` are shipped code.
TOP_DIRECTORIES = {"test", "testing", "spec", "specs", "t", "cypress"}

SCRIPT = r"(js|jsx|ts|tsx|mjs|cjs|mts|cts|vue|svelte)"
TEST_NAME = re.compile(
    rf"""
    conftest\.py | tests?\.py | test_.*\.pyi? | .*_tests?\.py
    | .*[._-](test|spec|e2e|cy)\.{SCRIPT} | test\.{SCRIPT} | test-.*\.{SCRIPT} | .*\.snap
    | .*_test\.(go|rs|dart|exs|jl|zig|lua|c|cc|cpp|cxx|nim|sh|bash) | tests?\.rs
    | .*_(spec|test)\.(rb|lua|cr) | test_.*\.(rb|c|cc|cpp|cxx|sh|bash|lua|nim|R|jl) | test-.*\.(R|sh)
    | .*_unittest\.(cc|cpp)
    | (.*(Test|Tests|TestCase|IT|Spec)|Test[A-Z].*)\.(java|kt|kts|scala|groovy|cs|fs|vb|swift|php|m|mm)
    | .*\.bats
    """,
    re.VERBOSE,
)

CONFIG_NAME = re.compile(
    r"""
    conftest\.py | \.?pytest\.(ini|toml) | tox\.(ini|toml) | noxfile\.py | \.coveragerc | \.?nose\.cfg | unittest\.cfg
    | (site|user)customize\.py | .*\.pth | \.testr\.conf | \.stestr\.conf
    | (jest|vitest|karma|playwright|cypress|ava|wdio|web-test-runner)\.(config|conf|setup|workspace)\..+
    | \.mocharc(\..+)? | mocha\.opts | \.nycrc(\..+)? | \.c8rc(\..+)? | \.taprc
    | \.rspec | \.simplecov | phpunit\.xml(\.dist)? | nextest\.toml | \.busted
    """,
    re.VERBOSE,
)

SHARED_CONFIG_NAMES = {"pyproject.toml", "setup.cfg", "package.json", "cargo.toml", "go.mod", "makefile"}


def is_test_path(path: str) -> bool:
    """Return whether the file at this repository-relative path is a test, or a helper or data of tests."""
    parts = PurePosixPath(path).parts
    if not parts:
        return False
    if TEST_NAME.fullmatch(parts[-1]):
        return True
    directories = parts[:-1]
    if any(name in TEST_DIRECTORIES for name in directories):
        return True
    if directories and directories[0] in TOP_DIRECTORIES:
        return True
    return _below_nested_test_directory(directories, parts[-1])


def is_test_config_path(path: str) -> bool:
    """Return whether the file steers how tests are found or run, and does nothing else.

    Files that also describe the package (pyproject.toml, package.json) are told by `is_shared_config_path`.
    """
    return bool(CONFIG_NAME.fullmatch(PurePosixPath(path).name))


def is_shared_config_path(path: str) -> bool:
    """Return whether the file may steer the test runner beside describing the package: an honest change may need it."""
    return PurePosixPath(path).name.lower() in SHARED_CONFIG_NAMES


def _below_nested_test_directory(directories: tuple[str, ...], name: str) -> bool:
    """Tell `src/test/java/A.java` and `packages/ui/test/helper.js` from a Python package that is called `test`."""
    return "test" in directories and not name.endswith((".py", ".pyi"))
