"""What each test framework's results look like here, and what its oddities come to."""

import shutil
import subprocess

import pytest

from runs.errors import TaskError
from runs.grading import frameworks

ADDER = {"calc.py": "def add(a, b):\n    return a + b\n"}


def test_every_framework_is_known_by_its_names():
    assert frameworks.names() == ["go", "node", "pytest", "rust", "script", "unittest"]
    assert frameworks.of({}).name == "pytest"
    assert frameworks.of({"test_framework": "cargo"}).name == "rust"
    assert frameworks.of({"test_framework": "pytest", "test_command": "make check"}).name == "script"
    with pytest.raises(TaskError, match="which is none of go, node"):
        frameworks.of({"test_framework": "abacus"})
    with pytest.raises(TaskError, match=r"there is no environment\.test_command"):
        frameworks.of({"test_framework": "junit"})


def results(arena, version=None, **environment) -> dict[str, str]:
    grade = arena.grade(version or arena.version(**environment), b"")
    assert not grade.tampered, grade.reason
    return arena.verdicts(grade)


# pytest

PYTEST = """
import pytest

@pytest.mark.parametrize("word", ["plain", "a b", "ünï", "x::y", "\\x00", "l" * 2000], ids=lambda word: word)
def test_words(word):
    pass

@pytest.mark.skip(reason="later")
def test_skipped():
    pass

@pytest.mark.xfail
def test_fails_as_expected():
    assert False

@pytest.mark.xfail(strict=True)
def test_passes_unexpectedly():
    pass

@pytest.fixture
def breaks():
    yield
    raise ValueError("torn")

def test_torn_down_badly(breaks):
    pass

@pytest.fixture
def broken():
    raise ValueError("set up badly")

def test_set_up_badly(broken):
    pass

class TestGroup:
    class TestInner:
        def test_deep(self):
            pass
"""
CONFTEST = """
import pytest

@pytest.fixture(autouse=True)
def needs_a_marker(request):
    # As suites do that ask much of each of their own tests.
    assert request.module.OWN

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    outcome.get_result().sections.append(("own", item.nodeid))

def pytest_collection_modifyitems(config, items):
    items.reverse()
"""


def test_pytest(local_arena):
    arena = local_arena(
        {
            "pytest.ini": "[pytest]\naddopts = -x --strict-markers -p no:cacheprovider\nfilterwarnings = error\n",
            "tests/conftest.py": CONFTEST,
            "tests/test_all.py": "OWN = True\n" + PYTEST,
            "tests/test_broken.py": "import nowhere_to_be_found\n",
        }
    )
    found = results(arena)
    long = next(name for name in found if "lllll" in name)
    assert len(long.encode()) <= 1000
    del found[long]
    assert found == {
        "::tests.test_broken": "error",
        "tests.test_all::test_words[plain]": "passed",
        "tests.test_all::test_words[a b]": "passed",
        "tests.test_all::test_words[\\xfcn\\xef]": "passed",
        "tests.test_all::test_words[x::y]": "passed",
        "tests.test_all::test_words[\\x00]": "passed",
        "tests.test_all::test_skipped": "skipped",
        "tests.test_all::test_fails_as_expected": "skipped",
        "tests.test_all::test_passes_unexpectedly": "failed",
        "tests.test_all::test_torn_down_badly": "error",
        "tests.test_all::test_set_up_badly": "error",
        "tests.test_all.TestGroup.TestInner::test_deep": "passed",
    }


def test_pytest_keeps_results_of_a_run_that_is_ended_in_the_middle(local_arena):
    tests = "import os\n\ndef test_a():\n    pass\n\ndef test_b():\n    assert 0\n\ndef test_c():\n    os._exit(0)\n"
    arena = local_arena({"test_it.py": tests + "\ndef test_d():\n    pass\n"})
    grade = arena.grade(arena.version(), b"")
    assert arena.verdicts(grade) == {"test_it::test_a": "passed", "test_it::test_b": "failed"}
    assert grade.outcome == "unresolved"
    assert "the last test to end was test_it::test_b" in grade.reason


def test_pytest_is_not_confused_by_children_and_modules_of_our_names(local_arena):
    tests = (
        "import multiprocessing, os\nfrom oneshot_channel import mine\nfrom pytest_main import also_mine\n\n"
        "def test_spawn():\n    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        assert pool.map(abs, [-1]) == [1]\n\n"
        "def test_fork():\n    if os.fork() == 0:\n        raise SystemExit(0)\n    os.wait()\n"
    )
    files = {"oneshot_channel.py": "mine = 1\n", "pytest_main.py": "also_mine = 2\n", "test_it.py": tests}
    assert results(local_arena(files)) == {"test_it::test_spawn": "passed", "test_it::test_fork": "passed"}


# unittest

UNITTEST = """
import unittest

class Good(unittest.TestCase):
    def test_good(self):
        pass

    def test_bad(self):
        self.assertEqual(1, 2)

    def test_broken(self):
        raise ValueError("oh")

    @unittest.skip("later")
    def test_skipped(self):
        pass

    @unittest.expectedFailure
    def test_fails_as_expected(self):
        self.fail()

    @unittest.expectedFailure
    def test_passes_unexpectedly(self):
        pass

    def test_parts(self):
        for number in range(3):
            with self.subTest(number=number):
                self.assertNotEqual(number, 1)

    def test_good_parts(self):
        for number in range(3):
            with self.subTest(number=number):
                pass

class BadStart(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        raise ValueError("no")

    def test_never(self):
        pass

class BadEnd(unittest.TestCase):
    def test_torn(self):
        self.addCleanup(self.fail, "torn")
"""


LOOSE = """
import unittest
import neighbour

class L(unittest.TestCase):
    def test_l(self):
        pass
"""


def test_unittest(local_arena):
    files = {
        "tests/__init__.py": "",
        "tests/unit/__init__.py": "",
        "tests/unit/test_all.py": UNITTEST,
        "loose/test_all.py": LOOSE,
        "loose/neighbour.py": "",
        "tests/test_broken.py": "import nowhere_to_be_found\n",
        "tests/test_left.py": "import unittest\nraise unittest.SkipTest('not here')\n",
        "build/test_old.py": "raise SystemExit\n",
    }
    arena = local_arena(files, test_framework="unittest")
    place = "tests.unit.test_all"
    grade = arena.grade(arena.version(), b"")
    assert arena.verdicts(grade) == {
        f"{place}.Good::test_good": "passed",
        f"{place}.Good::test_bad": "failed",
        f"{place}.Good::test_broken": "error",
        f"{place}.Good::test_skipped": "skipped",
        f"{place}.Good::test_fails_as_expected": "skipped",
        f"{place}.Good::test_passes_unexpectedly": "failed",
        f"{place}.Good::test_parts": "failed",
        f"{place}.Good::test_good_parts": "passed",
        f"{place}.BadStart::setUpClass": "error",
        f"{place}.BadEnd::test_torn": "failed",
        "loose.test_all.L::test_l": "passed",
        "::tests.test_broken": "error",
        "::tests.test_left": "skipped",
    }
    by_id = {one.test_id: one for one in grade.results}
    assert by_id[f"{place}.Good::test_bad"].message == "AssertionError: 1 != 2"
    assert "(number=1)" in by_id[f"{place}.Good::test_parts"].message
    assert "nowhere_to_be_found" in by_id["::tests.test_broken"].message


def test_unittest_reports_are_junit(local_arena):
    from runs.grading.reports import parse_junit

    test = (
        "import unittest\n\nclass T(unittest.TestCase):\n    def test_odd(self):\n        self.fail('\\x00<&\\ud800')\n"
    )
    arena = local_arena({"test_it.py": test}, test_framework="unittest")
    grade = arena.grade(arena.version(), b"")
    kind, report = grade.artifacts["junit.xml"]
    assert kind == "application/xml"
    found = {one.test_id: one for one in parse_junit(report)}
    assert found["test_it.T::test_odd"].message.startswith("AssertionError: \ufffd<&\ufffd")


# node

NODE = {
    "package.json": '{"type": "commonjs", "scripts": {"test": "echo always fine"}}',
    "calc.js": "exports.add = (a, b) => a + b;\n",
    "calc.test.js": """
const { test, describe, it } = require('node:test');
const assert = require('node:assert');
const { add } = require('./calc.js');
test('adds', () => { console.log('# fail 0'); assert.equal(add(1, 2), 3); });
test('breaks', () => assert.equal(add(1, 2), 4));
test('later', { skip: 'not now' }, () => {});
test('planned', { todo: true }, () => assert.ok(false));
describe('group', () => {
  it('inner', () => {});
  describe('deep', () => { it('breaks', () => { throw new Error('<&>'); }); });
});
test('parent', async (t) => { await t.test('child', () => {}); });
""",
    "test/plain.js": "process.exit(0)\n",
    "test/broken.mjs": "import './nowhere.js'\n",
    "node_modules/x/x.test.js": "require('node:test').test('not ours', () => {})\n",
}


@pytest.fixture
def needs_node():
    version = (
        subprocess.run(["node", "--version"], capture_output=True, text=True).stdout if shutil.which("node") else ""
    )
    if int(version.lstrip("v").partition(".")[0] or 0) < 20:
        pytest.skip("Node 20 or later is not installed")


def test_node(needs_node, local_arena):
    arena = local_arena(NODE, test_framework="node")
    grade = arena.grade(arena.version(), b"")
    assert arena.verdicts(grade) == {
        "calc.test.js::adds": "passed",
        "calc.test.js::breaks": "failed",
        "calc.test.js::later": "skipped",
        "calc.test.js::planned": "skipped",
        "calc.test.js::group > inner": "passed",
        "calc.test.js::group > deep > breaks": "failed",
        "calc.test.js::parent": "passed",
        "calc.test.js::parent > child": "passed",
        "test/broken.mjs::(file)": "error",
    }
    by_id = {one.test_id: one for one in grade.results}
    assert by_id["calc.test.js::group > deep > breaks"].message == "<&>"
    assert grade.outcome == "unresolved"


@pytest.mark.parametrize(
    "spoof",
    [
        "process.exit(0)",
        'console.log(\'<testsuites><testcase classname="calc.test.js" name="adds"/></testsuites>\'); process.exit(0)',
        "for (let fd = 3; fd < 30; fd++) { try { require('fs').writeSync(fd, 'x\\n') } catch {} } process.exit(0)",
        "require('assert').equal = () => {}; process.exitCode = 0",
    ],
)
def test_node_spoofs_solve_nothing(needs_node, local_arena, spoof):
    tests = "const test = require('node:test'); const { add } = require('./calc.js');\n"
    tests += "test('adds', () => { if (add(1, 2) !== 3) throw new Error('no'); });\n"
    arena = local_arena({"calc.js": "exports.add = (a, b) => a - b;\n"}, test_framework="node")
    version = arena.version(hidden={"calc.test.js": tests}, fix=["calc.test.js::adds"])
    changes = {"calc.js": f"exports.add = (a, b) => a - b;\n{spoof};\n", ".npmrc": "node-options=--test-only\n"}
    grade = arena.grade(version, arena.diff(changes))
    assert (grade.outcome, grade.fail_to_pass_passed) == ("unresolved", 0)
    solved = arena.grade(version, arena.diff({"calc.js": "exports.add = (a, b) => a + b;\n"}))
    assert solved.outcome == "resolved", solved.reason


# rust

RUST = {
    "Cargo.toml": '[package]\nname = "adder"\nversion = "0.1.0"\nedition = "2021"\n',
    "Cargo.lock": 'version = 3\n\n[[package]]\nname = "adder"\nversion = "0.1.0"\n',
    ".gitignore": "target\n",
    "src/lib.rs": "pub fn add(a: i32, b: i32) -> i32 { a - b }\n\n#[cfg(test)]\nmod tests {\n    #[test]\n"
    "    fn zero() { assert_eq!(super::add(0, 0), 0); }\n    #[test]\n    #[ignore]\n    fn later() {}\n}\n",
}
RUST_HIDDEN = {"tests/whole.rs": "#[test]\nfn adds() { assert_eq!(adder::add(1, 2), 3); }\n"}


@pytest.mark.skipif(not shutil.which("cargo"), reason="cargo is not installed")
def test_rust(plain_arena):
    arena = plain_arena(RUST, test_framework="rust")
    ids = {"fix": ["whole:tests/whole.rs::adds"], "keep": ["adder:src/lib.rs::tests::zero"]}
    version = arena.version(hidden=RUST_HIDDEN, **ids)
    nothing = arena.grade(version, b"")
    assert arena.verdicts(nothing) == {
        "whole:tests/whole.rs::adds": "failed",
        "adder:src/lib.rs::tests::zero": "passed",
        "adder:src/lib.rs::tests::later": "skipped",
    }
    assert not nothing.tampered
    assert "left: -1" in next(one.output for one in nothing.results if one.verdict == "failed")
    fixed = {"src/lib.rs": RUST["src/lib.rs"].replace("a - b", "a + b")}
    assert arena.grade(version, arena.diff(fixed)).outcome == "resolved"
    # A harness of its own would print whatever it likes.
    forged = {
        "Cargo.toml": RUST["Cargo.toml"] + '\n[[test]]\nname = "whole"\nharness = false\n',
        "tests/whole.rs": 'fn main() { println!("running 1 test\\ntest adds ... ok\\n"); }\n',
    }
    assert arena.grade(version, arena.diff(forged)).fail_to_pass_passed == 0


# A command of the task's own

COMMAND = """
out=${ONESHOT_JUNIT%/*}
echo '<testsuite name="a"><testcase classname="x" name="one"/></testsuite>' >"$out/TEST-a.xml"
echo '<testsuite name="b"><testcase classname="x" name="two"><failure/></testcase></testsuite>' >"$out/TEST-b.xml"
exit 1
"""


def test_a_command_may_write_several_reports(local_arena):
    assert results(local_arena(ADDER), test_command=COMMAND) == {"x::one": "passed", "x::two": "failed"}


def test_a_command_may_make_a_directory_of_the_report(local_arena):
    report = "<testsuite name='s'><testcase name='one'/></testsuite>"
    command = f'mkdir "$ONESHOT_JUNIT"; echo "{report}" >"$ONESHOT_JUNIT/1.xml"'
    assert results(local_arena(ADDER), test_command=command) == {"s::one": "passed"}


@pytest.mark.parametrize(
    ("command", "said", "tampered"),
    [
        ("exit 3", "exit status 3 and wrote no report", False),
        ("echo hello >$ONESHOT_JUNIT", "no XML", False),
        ("echo '<testsuite/>' >$ONESHOT_JUNIT", "No test was run", False),
        ("echo '<testsuite><testcase name=\"a\"/></testsuite>' >$ONESHOT_JUNIT; exit 1", "no failure, but", True),
        ("ln -s /etc/passwd $ONESHOT_JUNIT", "wrote no report", False),
        ("kill -9 $PPID", "ended before its report", False),
    ],
)
def test_a_command_without_a_good_report_passes_nothing(local_arena, command, said, tampered):
    arena = local_arena(ADDER)
    grade = arena.grade(arena.version(test_command=command, fix=["::a"]), b"")
    assert grade.outcome == "unresolved"
    assert grade.fail_to_pass_passed == 0
    assert said in grade.reason
    assert grade.tampered == tampered


def test_the_command_itself_cannot_be_changed_by_a_diff(local_arena):
    run = "sh check.sh\n"
    report = 'echo \'<testsuite name="s"><testcase name="a">{}</testcase></testsuite>\' >$ONESHOT_JUNIT\n'
    arena = local_arena({"check.sh": report.format("<failure/>") + "exit 1\n"})
    version = arena.version(test_command=run, fix=["s::a"])
    grade = arena.grade(version, arena.diff({"check.sh": report.format("")}))
    assert (grade.outcome, arena.verdicts(grade)) == ("unresolved", {"s::a": "failed"})
