"""Whose fault a failed build is, told by what the programs said."""

import pytest

from runs.errors import InfraError, TaskError
from runs.images.plan import check_guess, failure, site
from runs.images.scripts import setup_script
from runs.images.work import Lines
from runs.sandboxes.base import ExecResult
from tasks.models import TaskVersion

PIP_OFFLINE = """WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'NewConnectionError(
Failed to establish a new connection: [Errno 111] Connection refused')': /simple/attrs/
ERROR: Could not find a version that satisfies the requirement attrs
ERROR: No matching distribution found for attrs"""


def judge(text, exit_code=1, **fields):
    result = ExecResult(exit_code=exit_code, stdout=b"", stderr=b"", seconds=1, **fields)
    return failure("The set-up", result, text.splitlines(), timeout_s=60)


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (PIP_OFFLINE, InfraError, "could not be reached"),
        ("ERROR: No matching distribution found for atrs", TaskError, "exit status 1"),
        ("E: Unable to locate package zzzz", TaskError, "exit status 1"),
        ("E: Failed to fetch http://deb/x  Could not connect to deb:80", InfraError, "could not be reached"),
        ("npm ERR! code ENOTFOUND", InfraError, "could not be reached"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]", InfraError, "ONESHOT_EXTRA_CA"),
        ("npm ERR! code UNABLE_TO_GET_ISSUER_CERT_LOCALLY", InfraError, "ONESHOT_EXTRA_CA"),
        ("OSError: [Errno 28] No space left on device", InfraError, "disk space"),
        ("make: *** [all] Error 2", TaskError, "exit status 1"),
        ("go: dial tcp 1.2.3.4:443: i/o timeout", InfraError, "could not be reached"),
    ],
)
def test_fault_is_told_from_the_words(text, kind, words):
    fault = judge(text)
    assert type(fault) is kind
    assert words in str(fault)
    assert text.splitlines()[-1] in str(fault)


def test_limits_have_their_own_mends():
    assert "environment.memory_mb" in str(judge("", None, limit="memory"))
    assert "ONESHOT_BUILD_TIMEOUT_S" in str(judge("", None, timed_out=True))
    assert isinstance(judge("", None, limit="disk"), InfraError)
    assert isinstance(judge("", None), InfraError)


def test_only_the_last_twenty_lines_are_shown():
    text = "\n".join(f"line {number}." for number in range(100))
    assert "line 80." in str(judge(text))
    assert "line 79." not in str(judge(text))


def test_set_up_is_one_shell_whose_first_failing_line_ends_it(tmp_path):
    import subprocess

    def run(*lines):
        done = subprocess.run(["sh", "-c", setup_script(lines)], cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stdout.splitlines()

    assert run("cd /", "X=1", "echo $X $PWD") == (0, ["$ cd /", "$ X=1", "$ echo $X $PWD", "1 /"])
    assert run("false", "echo never") == (1, ["$ false"])
    assert run("false && true", "echo never") == (1, ["$ false && true"])
    assert run("if false; then :; fi", "(exit 3)") == (3, ["$ if false; then :; fi", "$ (exit 3)"])
    assert run("cat <<EOF\nit's 'here'\nEOF") == (0, ["$ cat <<EOF", "$ it's 'here'", "$ EOF", "it's 'here'"])


def test_output_in_pieces_becomes_lines():
    said = []
    lines = Lines(said.append)
    for piece in (b"a\nb", b"c\n", b"10%\r20%\r30%\nlast"):
        lines.add("stdout", piece)
    lines.add("stderr", b"err\n")
    lines.close()
    assert "\n".join(said).splitlines() == ["a", "bc", "30%", "err", "last"]
    assert lines.last[-2:] == ["err", "last"]


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'x': /simple/a/", True),
        ("WARNING: Retrying (Retry(total=2, connect=None)) after connection broken by 'x': /simple/a/", False),
        ("Could not fetch URL https://a/simple/b/: There was a problem confirming the ssl certificate", True),
        ("ERROR: No matching distribution found for b", False),
    ],
)
def test_guessed_set_up_that_went_on_without_a_server_is_no_image(line, refused):
    lines = Lines(lambda text: None)
    lines.add("stdout", f"{line}\nand more\n".encode())
    guessed, declared = TaskVersion(), TaskVersion(environment={"setup": ["pip install a || true"]})
    check_guess(declared, lines.gave_up)
    if refused:
        with pytest.raises(InfraError, match="could not be reached"):
            check_guess(guessed, lines.gave_up)
    else:
        check_guess(guessed, lines.gave_up)


def test_passwords_and_tokens_of_index_addresses_are_the_secrets(settings, monkeypatch):
    settings.PIP_INDEX_URL = "https://reader:pass-word@a/simple"
    settings.NPM_REGISTRY = "https://token-only@b/"
    settings.PIP_EXTRA_INDEX_URL = ""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:3128")
    given = site()
    assert given.secrets == ("pass-word", "token-only")
    assert given.proxies == {}
    assert "PIP_EXTRA_INDEX_URL" not in given.variables("/x")
    assert "pass-word" not in repr(given.secrets) or "secrets" not in repr(given)


def test_unreadable_certificate_file_says_the_setting(settings):
    settings.EXTRA_CA = "/nowhere/ca.pem"
    with pytest.raises(InfraError, match="ONESHOT_EXTRA_CA=/nowhere"):
        site()
    settings.EXTRA_CA = __file__
    with pytest.raises(InfraError, match="holds no certificate"):
        site()
