"""Tests are told from code by the conventions of each language."""

import pytest

from tasks.testfiles import is_shared_config_path, is_test_config_path, is_test_path

TESTS = """
tests/test_a.py tests/data/x.json tests/__init__.py pkg/tests/helpers.py test_a.py pkg/test_a.py pkg/a_test.py
conftest.py src/conftest.py testing/test_config.py testing/helper.py test/a.py test/fixtures/x.txt polls/tests.py
src/a.test.ts src/a.spec.js src/a.test.tsx src/__tests__/a.js src/__snapshots__/a.snap test/a.mjs test.js
packages/ui/test/a.js src/a.spec.vue cypress/e2e/a.cy.js
pkg/a_test.go pkg/testdata/x.golden tests/it.rs crates/x/tests/common/mod.rs src/tests.rs
spec/a_spec.rb spec/spec_helper.rb test/models/user_test.rb lib/a_spec.rb
src/test/java/a/B.java src/test/resources/x.xml src/main/BTest.java src/TestB.java app/src/test/kotlin/A.kt a/BTests.cs
tests/a.bats bats/a.bats t/basic.t a/foo_test.sh test_x.sh src/foo_test.cc src/foo_unittest.cc test/x.c
lib/a_test.exs tests/ATest.php
""".split()  # noqa: SIM905 - reads better than eighty quotes

CODE = """
adder.py src/adder.py pkg/testing.py numpy/testing/utils.py django/test/client.py contest.py latest.py attest/a.py
src/testimonials.ts src/latest.js protest.go contest/main.go src/main.rs lib/spec.rb lib/inspector.rb
src/main/java/a/B.java src/main/java/Testament.kt.txt docs/tests.md specification.md src/Contest.java Latest.java
testdrive/a.py mytests.txt setup.py pyproject.toml README.md a.sh
""".split()  # noqa: SIM905

STEERING = """
pytest.ini .pytest.ini tox.ini conftest.py pkg/conftest.py .coveragerc noxfile.py jest.config.js jest.config.mts
vitest.config.ts .mocharc.json .mocharc sitecustomize.py x.pth .rspec phpunit.xml playwright.config.ts
""".split()  # noqa: SIM905


@pytest.mark.parametrize("path", TESTS)
def test_a_test_is_known_by_its_name(path):
    assert is_test_path(path)


@pytest.mark.parametrize("path", CODE)
def test_code_is_not_taken_for_a_test(path):
    assert not is_test_path(path)


@pytest.mark.parametrize("path", STEERING)
def test_files_that_steer_the_test_runner_are_known(path):
    assert is_test_config_path(path)


@pytest.mark.parametrize("path", ["pyproject.toml", "setup.cfg", "package.json"])
def test_files_that_also_describe_the_package_are_told_apart(path):
    assert is_shared_config_path(path)
    assert not is_test_config_path(path)


@pytest.mark.parametrize("path", ["", "adder.py", "config.py", "tests/test_a.py", "jest.py"])
def test_other_files_steer_nothing(path):
    assert not is_test_config_path(path)
    assert not is_shared_config_path(path)
