# mypy: ignore-errors
"""Runs a repository's pytest suite as `python -m pytest` would, and sends its JUnit report out.

Two tests of our own go last: one must pass and one must fail. Code under test that bends pytest bends them too.
"""

import glob
import importlib.util
import json
import os
import shutil
import sys
import types
from fnmatch import fnmatch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import oneshot_channel as outside

# The repository may have modules of the same names as the files here.
del sys.modules["oneshot_channel"]
sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != HERE]

# In the order in which pytest looks for them; the first that says something about pytest is used.
CONFIG_NAMES = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")


def main():
    channel = outside.open_channel()
    with open(os.path.join(HERE, "plan.json"), encoding="utf-8") as file:
        plan = json.load(file)
    whole_path = outside.hide_repository(plan["root"])
    problem = import_pytest(whole_path)
    if problem:
        channel.send("missing", {"why": "Python {} says: {}".format(sys.version.split()[0], problem)})
        return 0
    add_hooks()
    before = outside.fingerprint(own_parts())
    # As `python -m pytest` does; only now can the repository's own modules be imported.
    first = [plan["root"]] if plan.get("root_on_path", True) else []
    sys.path[:] = first + [entry for entry in whole_path if entry not in ("", plan["root"])]
    status = run(channel, plan, before)
    sys.stdout.flush()
    sys.stderr.flush()
    # Nothing that a test left behind gets a say any more: no exit handler, no thread that never ends.
    os._exit(status)


def import_pytest(whole_path):
    """Import pytest; from the repository only when it is nowhere else, as in the repositories of its own parts.

    Returns why it cannot be used, or "".
    """
    problem = ""
    for path in (sys.path[:], whole_path):
        sys.path[:] = path
        try:
            import pytest

            return "" if int(pytest.__version__.split(".")[0]) >= 6 else "this is pytest " + pytest.__version__
        except ImportError as error:
            problem = problem or str(error)
    return problem


def run(channel, plan, before):
    import pytest

    grader = Grader(channel, plan)
    config = config_file(plan)
    # What a test command asks for comes first, so that what follows holds.
    arguments = [
        *plan.get("arguments", ()),
        "--rootdir=" + plan["root"],
        "--confcutdir=" + plan["root"],
        "-c",
        config,
        "--junitxml=" + grader.report_path,
        "--continue-on-collection-errors",
        "--maxfail=0",
        "--color=no",
        "-p",
        "no:randomly",
        "-o",
        "junit_family=xunit1",
        "-o",
        "junit_logging=all",
        "-o",
        "junit_log_passing_tests=false",
        "-o",
        "cache_dir=" + os.path.join(HERE, "cache"),
    ]
    if has_xdist(config):
        # In one process and one order, so that a test ends the same way every time.
        arguments += ["-n", "0"]
    sys.argv = [os.path.join(os.path.dirname(pytest.__file__), "__main__.py")] + arguments
    end = {"status": None, "error": "", "pytest": pytest.__version__, "python": sys.version.split()[0]}
    try:
        end["status"] = int(pytest.main(arguments, plugins=[grader]))
    except BaseException as error:
        end["error"] = f"{type(error).__name__}: {error}"[:500]
    end["changed"] = outside.changed(before, outside.fingerprint(own_parts()))
    end["collected"] = grader.collected
    channel.send("report", grader.report())
    channel.send("end", end)
    if grader.module_name:
        print(
            f"\nOneShot: {grader.module_name}.py is no file; two checks of the grading itself, of which one must fail."
        )
    return 70 if end["status"] is None else end["status"]


def config_file(plan):
    """Return the configuration to use: the protected one, whatever the tried change made of it.

    It must lie in the repository's root, because pytest takes relative paths in it from there.
    """
    from pathlib import Path

    from _pytest.config.findpaths import load_config_dict_from_file

    for name in CONFIG_NAMES:
        protected = os.path.join(HERE, "config", name)
        if not os.path.isfile(protected):
            continue
        try:
            says_something = load_config_dict_from_file(Path(protected)) is not None
        except Exception:
            says_something = True
        if not says_something:
            continue
        if name not in plan["replace_config"]:
            return os.path.join(plan["root"], name)
        path = os.path.join(plan["root"], plan["config_name"] + os.path.splitext(name)[1])
        shutil.copyfile(protected, path)
        return path
    path = os.path.join(HERE, "none.ini")
    with open(path, "w", encoding="ascii") as file:
        file.write("[pytest]\n")
    return path


def has_xdist(config):
    """Tell whether pytest will know the option -n."""
    with open(config, "rb") as file:
        if b"no:xdist" in file.read():
            return False
    # Importing it here would keep pytest from rewriting its assertions, about which pytest warns.
    return importlib.util.find_spec("xdist") is not None


class Grader:
    """The plugin: adds hidden test files to what is collected, adds the two checks, tells of each test as it ends."""

    def __init__(self, channel, plan):
        self.channel = channel
        self.plan = plan
        self.collected = None
        self.module_name = ""
        self.alarm = outside.Alarm(plan["longest_test_s"], end_test)
        self._descriptor = None
        self.report_path = os.path.join(HERE, channel.name("report") + ".xml")
        if hasattr(os, "memfd_create"):
            self._descriptor = outside.LEAST_DESCRIPTOR - 1
            self.report_path = "/proc/self/fd/{}".format(self._descriptor)

    def open_report(self):
        """Make the file that pytest is about to write: only now, in memory, and out of reach of other processes."""
        if self._descriptor is None:
            return
        outside.hide_process()
        descriptor = os.memfd_create(self.channel.name("report"))
        os.dup2(descriptor, self._descriptor)
        os.close(descriptor)

    def report(self):
        """Return what pytest has written; nothing when it did not come to that."""
        try:
            with open(self.report_path, "rb") as file:
                return file.read()
        except OSError:
            return b""

    def add_test_files(self, config):
        """Have pytest collect the hidden test files that the suite's own paths and patterns would not find."""
        patterns = config.getini("python_files")
        skipped = config.getini("norecursedirs")
        places = [os.path.realpath(str(argument).split("::")[0]) for argument in config.args]
        for name in self.plan["test_files"]:
            path = os.path.realpath(os.path.join(self.plan["root"], name))
            if not os.path.isfile(path) or not looks_like_tests(path, patterns):
                continue
            if any(finds(place, path, patterns, skipped) for place in places):
                continue
            if any(finds(place, path, ["*"], skipped) for place in places):
                # Not as an argument: pytest 8.0 and 8.1, given a directory and a file in it, take the file alone.
                patterns += [glob.escape(path), glob.escape(os.path.join(self.plan["root"], name))]
            else:
                config.args.append(path)

    def checks(self, session):
        """Return the two items of our own. They use no fixture, so that none of the repository's can spoil them."""
        import pytest

        good, bad = self.channel.name("passes"), self.channel.name("fails")
        self.module_name = "test_" + self.channel.name("module")
        functions = {"test_" + good: passes, "test_" + bad: fails}
        path = os.path.join(self.plan["root"], self.module_name + ".py")
        try:
            from pathlib import Path

            module = pytest.Module.from_parent(session, path=Path(path))
        except TypeError:  # before pytest 7
            import py

            module = pytest.Module.from_parent(session, fspath=py.path.local(path))
        module._obj = types.ModuleType(self.module_name)
        items = []
        for name, function in functions.items():
            setattr(module._obj, name, function)
            item = pytest.Function.from_parent(module, name=name, callobj=function)
            item.fixturenames = []
            items.append(item)
        return items

    def tell(self, report):
        """Send how a test stands after this phase of it."""
        if report.when == "call":
            verdict = report.outcome
        elif report.outcome == "passed":
            return
        else:
            verdict = "skipped" if report.outcome == "skipped" else "error"
        if verdict not in ("passed", "failed", "skipped", "error"):
            return
        from _pytest.junitxml import bin_xml_escape, mangle_test_address

        names = mangle_test_address(report.nodeid)
        crash = getattr(report.longrepr, "reprcrash", None)
        self.channel.send(
            "case",
            {
                "id": "{}::{}".format(".".join(names[:-1]), bin_xml_escape(names[-1])),
                "verdict": verdict,
                "seconds": report.duration,
                "message": str(getattr(crash, "message", ""))[:300],
            },
        )


def end_test(message):
    import pytest

    pytest.fail(message)


def passes():
    """Must pass."""


def fails():
    """Must fail."""
    raise AssertionError("This test must fail: it shows that failures are reported.")


def looks_like_tests(path, patterns):
    name = os.path.basename(path)
    if not name.endswith(".py") or name in ("conftest.py", "__init__.py"):
        return False
    if any(fnmatch(name, pattern) for pattern in patterns):
        return True
    with open(path, encoding="utf-8", errors="replace") as file:
        return any(line.lstrip().startswith(("def test", "async def test", "class Test")) for line in file)


def finds(place, path, patterns, skipped):
    """Tell whether pytest comes upon `path` when it is asked to collect `place`."""
    if place == path:
        return True
    if not path.startswith(place.rstrip(os.sep) + os.sep):
        return False
    parts = path[len(place) :].strip(os.sep).split(os.sep)
    if any(fnmatch(part, pattern) for part in parts[:-1] for pattern in skipped):
        return False
    return any(fnmatch(parts[-1], pattern) for pattern in patterns)


def shuffled(items, seed):
    """Return the tests in another order, the same for the same seed: files, then classes in them, then functions.

    What shares a file or a class stays together, so that fixtures of a wider scope are set up as often as before.
    """
    import random

    source = random.Random(seed)  # noqa: S311 - an order, not a secret

    def mixed(group, names):
        if not names:
            source.shuffle(group)
            return group
        parts = {}
        for item in group:
            parts.setdefault(names[0](item), []).append(item)
        kept = list(parts.values())
        source.shuffle(kept)
        return [item for part in kept for item in mixed(part, names[1:])]

    return mixed(list(items), [lambda item: str(item.fspath), lambda item: str(getattr(item, "cls", None))])


def add_hooks():
    """Give the plugin its hooks; they need pytest, which is imported late."""
    import pytest

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config):
        self.add_test_files(config)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, session, config, items):
        yield
        self.collected = len(items)
        if self.plan.get("order_seed") is not None:
            items[:] = shuffled(items, self.plan["order_seed"])
        items.extend(self.checks(session))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report):
        self.tell(report)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_sessionfinish(self):
        self.open_report()
        yield

    def timed(self):
        self.alarm.arm()
        try:
            yield
        finally:
            self.alarm.disarm()

    # Within these, whatever is raised counts as the test's own failure.
    for name in ("pytest_runtest_setup", "pytest_runtest_call", "pytest_runtest_teardown"):
        hook = types.FunctionType(timed.__code__, timed.__globals__, name, None, timed.__closure__)
        setattr(Grader, name, pytest.hookimpl(hookwrapper=True, tryfirst=True)(hook))
    Grader.pytest_configure = pytest_configure
    Grader.pytest_sessionfinish = pytest_sessionfinish
    Grader.pytest_collection_modifyitems = pytest_collection_modifyitems
    Grader.pytest_runtest_logreport = pytest_runtest_logreport


def own_parts():
    """Return the places in pytest where a verdict is made and written down."""
    import unittest

    import _pytest.junitxml as junitxml
    import _pytest.python as python
    import _pytest.reports as reports
    import _pytest.runner as runner
    import _pytest.skipping as skipping
    import _pytest.unittest as cases

    places: list = [(owner, name) for owner in (junitxml.LogXML, junitxml._NodeReporter) for name in vars(owner)]
    places = [place for place in places if callable(vars(place[0])[place[1]])]
    places += [
        (reports.TestReport, "from_item_and_call"),
        (reports.TestReport, "__init__"),
        (reports.CollectReport, "__init__"),
        (runner, "call_and_report"),
        (runner, "runtestprotocol"),
        (runner, "pytest_runtest_protocol"),
        (runner, "pytest_runtest_makereport"),
        (runner, "pytest_runtest_call"),
        (runner.CallInfo, "from_call"),
        (python, "pytest_pyfunc_call"),
        (python.Function, "runtest"),
        (skipping, "pytest_runtest_makereport"),
        (cases.TestCaseFunction, "runtest"),
        (cases.TestCaseFunction, "addError"),
        (cases.TestCaseFunction, "addFailure"),
        (unittest.TestCase, "run"),
        (unittest.TestCase, "__call__"),
        (unittest.TestCase, "fail"),
        (unittest.TestCase, "assertEqual"),
        (unittest.TestCase, "assertTrue"),
        (unittest.TestCase, "assertRaises"),
    ]
    try:
        import pluggy._callers as callers

        places.append((callers, "_multicall"))
    except ImportError:
        pass
    return [(owner, name) for owner, name in places if name in vars(owner)]


if __name__ == "__main__":
    sys.exit(main())
