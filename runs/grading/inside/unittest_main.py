# mypy: ignore-errors
"""Runs a repository's unittest suite, found by file name, and sends a JUnit report of it out.

Two tests of our own go last: one must pass and one must fail. Needs nothing but Python.
"""

import importlib
import importlib.util
import json
import os
import sys
import time
import traceback
import unittest
from fnmatch import fnmatch
from xml.sax.saxutils import escape, quoteattr

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import oneshot_channel as outside

# The repository may have modules of the same names as the files here.
del sys.modules["oneshot_channel"]
sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != HERE]

PATTERN = "test*.py"
NOT_LOOKED_INTO = ("build", "dist", "venv", "env", "node_modules", "site-packages", "__pycache__")
LONGEST_OUTPUT = 20000


def main():
    channel = outside.open_channel()
    with open(os.path.join(HERE, "plan.json"), encoding="utf-8") as file:
        plan = json.load(file)
    before = outside.fingerprint(own_parts())
    root = plan["root"]
    sys.path[:] = [root] + [entry for entry in sys.path if entry not in ("", root)]
    sys.argv = [os.path.join(os.path.dirname(unittest.__file__), "__main__.py")]
    recorder = Recorder(channel, outside.Alarm(plan["longest_test_s"], end_test))
    end = {"status": None, "error": "", "python": sys.version.split()[0]}
    try:
        suite, labels = load(root, plan["test_files"], recorder)
        recorder.labels = labels
        end["collected"] = suite.countTestCases() + len(recorder.cases)
        suite.addTests(checks(channel))
        suite.run(recorder)
        end["status"] = 0 if recorder.wasSuccessful() else 1
    except BaseException as error:
        end["error"] = f"{type(error).__name__}: {error}"[:500]
        traceback.print_exc()
    end["changed"] = outside.changed(before, outside.fingerprint(own_parts()))
    channel.send("report", recorder.as_xml())
    channel.send("end", end)
    sys.stdout.flush()
    sys.stderr.flush()
    # Nothing that a test left behind gets a say any more: no exit handler, no thread that never ends.
    os._exit(70 if end["status"] is None else end["status"])


def load(root, named, recorder):
    """Return (suite of every test file below `root`, {module name: path as a dotted name})."""
    suite = unittest.TestSuite()
    labels = {}
    for path in test_files(root, named):
        label = os.path.relpath(path, root)[: -len(".py")].replace(os.sep, ".")
        started = time.time()
        try:
            module = load_module(path, label)
            labels[module.__name__] = label
            suite.addTest(unittest.defaultTestLoader.loadTestsFromModule(module))
        except unittest.SkipTest as skip:
            recorder.add("", label, "skipped", time.time() - started, str(skip), "")
        except (Exception, SystemExit) as error:
            message = f"{type(error).__name__}: {error}"
            recorder.add("", label, "error", time.time() - started, message, traceback.format_exc())
    return suite, labels


def test_files(root, named):
    """Return the files that match the usual pattern, and those that are named, in one order."""
    found = {os.path.join(root, name) for name in named if name.endswith(".py") and has_tests(os.path.join(root, name))}
    for directory, below, names in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".") and name not in NOT_LOOKED_INTO]
        if os.path.exists(os.path.join(directory, "pyvenv.cfg")):
            below[:] = []
            continue
        found.update(os.path.join(directory, name) for name in names if fnmatch(name, PATTERN))
    return sorted(found)


def has_tests(path):
    if not os.path.isfile(path) or os.path.basename(path) in ("__init__.py", "conftest.py"):
        return False
    with open(path, encoding="utf-8", errors="replace") as file:
        text = file.read()
    return "unittest" in text or "TestCase" in text


def load_module(path, label):
    """Import a test file by the name it has in its package, or beside its neighbours when it is in none."""
    top = os.path.dirname(path)
    while os.path.isfile(os.path.join(top, "__init__.py")):
        top = os.path.dirname(top)
    if top not in sys.path:
        sys.path.append(top)
    name = os.path.relpath(path, top)[: -len(".py")].replace(os.sep, ".")
    known = sys.modules.get(name)
    if known is None and is_found_at(name, path):
        return importlib.import_module(name)
    if known is not None and same_file(getattr(known, "__file__", None), path):
        return known
    # Another module has that name: this one gets a name by its whole path.
    spec = importlib.util.spec_from_file_location("tests_of_" + label.replace(".", "_"), path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def is_found_at(name, path):
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        # Let the import itself say what is wrong with the package above.
        return True
    return spec is not None and same_file(spec.origin, path)


def same_file(first, second):
    return bool(first) and os.path.exists(first) and os.path.samefile(first, second)


def checks(channel):
    """Return the two tests of our own."""

    def passes(self):
        """Must pass."""

    def fails(self):
        """Must fail."""
        self.fail("This test must fail: it shows that failures are reported.")

    good, bad = "test_" + channel.name("passes"), "test_" + channel.name("fails")
    name = "test_" + channel.name("module")
    # Its id is to be `module.method`, as that of a function would be.
    identity = {"__module__": name, "id": lambda self: f"{name}.{self._testMethodName}"}
    case = type("Checks", (unittest.TestCase,), {good: passes, bad: fails, **identity})
    return [case(good), case(bad)]


def end_test(message):
    raise TookTooLong(message)


class TookTooLong(BaseException):
    """No `except Exception` of the code under test stops it."""


class Recorder(unittest.TestResult):
    """Keeps one result for each test, and sends it out as soon as the test has ended."""

    def __init__(self, channel, alarm):
        super().__init__()
        self.channel = channel
        self.alarm = alarm
        self.own_name = "test_" + channel.name("module")
        self.cases = []
        self.labels = {}
        self._started = time.time()
        self._worst = None

    def add(self, classname, name, verdict, seconds, message, output):
        self.cases.append((classname, name, verdict, seconds, message, output))
        case = {"id": classname + "::" + name, "verdict": verdict, "seconds": seconds, "message": message[:300]}
        self.channel.send("case", case)
        if classname == self.own_name:
            return
        print(f"{classname}::{name} ... {verdict}", file=sys.stderr)
        if output and verdict in ("failed", "error"):
            print(output, file=sys.stderr)

    def startTest(self, test):
        super().startTest(test)
        self._started = time.time()
        self._worst = None
        self.alarm.arm()

    def stopTest(self, test):
        self.alarm.disarm()
        super().stopTest(test)
        verdict, message, output = self._worst or ("error", "The test ended without a result.", "")
        self.add(*self._names(test), verdict, time.time() - self._started, message, output)

    def _found(self, test, verdict, error=None, message=""):
        """Keep the worst of what is said of one test: by its body, its clean-up and its subtests."""
        output = self._exc_info_to_string(error, test) if error else ""
        message = message or (f"{error[0].__name__}: {error[1]}" if error else "")
        if not isinstance(test, unittest.TestCase):
            # A class or module that could not be set up or torn down; its tests have no result of their own.
            name, _, classname = str(getattr(test, "description", test)).partition(" (")
            self.add(self._labelled(classname.rstrip(")")), name, verdict, 0.0, message, output)
            return
        order = ("passed", "skipped", "error", "failed")
        if self._worst is None or order.index(verdict) > order.index(self._worst[0]):
            self._worst = (verdict, message, output)

    def _names(self, test):
        classname, _, name = test.id().rpartition(".")
        return self._labelled(classname), name

    def _labelled(self, classname):
        """Put the path of its file in the place of the name under which a module was imported."""
        for module, label in self.labels.items():
            if classname == module or classname.startswith(module + "."):
                return label + classname[len(module) :]
        return classname

    def addSuccess(self, test):
        self._found(test, "passed")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._found(test, "failed", err)

    def addError(self, test, err):
        super().addError(test, err)
        self._found(test, "error", err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._found(getattr(test, "test_case", test), "skipped", message=str(reason))

    def addExpectedFailure(self, test, err):
        super().addExpectedFailure(test, err)
        self._found(test, "skipped", err, message="failed, as the test expects")

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._found(test, "failed", message="passed, which the test does not expect")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            failed = issubclass(err[0], test.failureException)
            which = subtest._subDescription()
            self._found(test, "failed" if failed else "error", err, f"{which} {err[0].__name__}: {err[1]}")

    def as_xml(self):
        rows = []
        tags = {"failed": "failure", "error": "error", "skipped": "skipped"}
        for classname, name, verdict, seconds, message, output in self.cases:
            row = f'<testcase classname={attribute(classname)} name={attribute(name)} time="{seconds:.6f}"'
            if verdict == "passed":
                rows.append(row + "/>")
                continue
            tag, text = tags[verdict], escape(printable(output[-LONGEST_OUTPUT:]))
            rows.append(f"{row}><{tag} message={attribute(message[:2000])}>{text}</{tag}></testcase>")
        start = '<?xml version="1.0" encoding="utf-8"?>\n<testsuites><testsuite name="unittest">\n'
        return (start + "\n".join(rows) + "\n</testsuite></testsuites>\n").encode("utf-8", "replace")


def attribute(text):
    return quoteattr(printable(text))


def printable(text):
    """Return text without what XML does not take."""
    return "".join(character if is_printable(character) else "\ufffd" for character in text)


def is_printable(character):
    return character in "\t\n\r" or (
        character >= " " and not "\ud800" <= character <= "\udfff" and character not in "\ufffe\uffff"
    )


def own_parts():
    """Return the places in unittest where a verdict is made, and our own where it is written down."""
    names = ("run", "__call__", "fail", "assertEqual", "assertTrue", "assertFalse", "assertRaises", "assertIn")
    places: list = [(unittest.TestCase, name) for name in names] + [
        (unittest.TestSuite, "run"),
        (unittest.TestResult, "addFailure"),
    ]
    places += [(Recorder, name) for name in vars(Recorder) if callable(vars(Recorder)[name])]
    places += [(unittest.case._Outcome, "testPartExecutor")]
    return [(owner, name) for owner, name in places if name in vars(owner)]


if __name__ == "__main__":
    sys.exit(main())
