"""Secrets and personal data in the texts of a task."""

import pytest

from tasks.findings.base import Part, masked
from tasks.findings.personal import personal_data_in
from tasks.findings.secrets import secrets_in

# Put together here, so that no scanner takes this file for a leak.
SLACK = "xox" + "b-2345678901-" + "AbCdEfGhIjKlMnOpQrStUvWx"
ANTHROPIC = "sk-" + "ant-api03-" + "a1B2c3D4" * 6
AWS = "AKIA" + "QYLPMN5HFIQR7XYZ"


def part(text: str) -> Part:
    return Part(part="tests", path="tests/conftest.py", text=text)


@pytest.mark.parametrize("secret", [SLACK, ANTHROPIC, AWS])
@pytest.mark.parametrize("line", ["KEY={}\n", 'key = "{}"  # pragma: allowlist secret\n', '{{"a": "\\"{}\\""}}\n'])
def test_a_key_blocks_and_is_never_shown_whole(secret: str, line: str) -> None:
    text = "x = 1\n" + line.format(secret)
    [found] = secrets_in(part(text))
    assert (found.severity, found.mend, found.line) == ("block", "redact", 2)
    assert secret in text[found.start : found.end]
    assert secret not in found.message + found.title + found.essence + repr(found.place())


def test_the_same_key_twice_is_one_finding() -> None:
    assert len(secrets_in(part(f"a = '{SLACK}'\nb = '{SLACK}'\n"))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "commit 49fc5480a1b2c3d4e5f60718293a4b5c6d7e8f90",
        "id = '019aa0b1-7c55-7cc1-b8f1-0242ac120002'",
        "password = os.environ['PASSWORD']",
        "sha256-Zm9vYmFyYmF6cXV4Zm9vYmFyYmF6cXV4Zm9vYmFyYmE=",
        "This is plain English about tokens and secrets.",
    ],
)
def test_ordinary_text_has_no_secret(text: str) -> None:
    assert secrets_in(part(text)) == []


def test_a_mask_shows_the_ends_of_long_secrets_only() -> None:
    assert masked(SLACK).startswith("xoxb")
    assert masked("short") == "\N{BULLET}" * 4


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Ask t.brandt@ledgerline.io if a country is missing.", "A person's e-mail address"),
        ("It lies in /home/mira/work/x.py.", "Someone's home directory"),
        ("C:\\Users\\Jonas\\x", "Someone's home directory"),
        ("The server is 93.184.216.34.", "A public IP address"),
    ],
)
def test_personal_data_is_worth_a_look(text: str, title: str) -> None:
    [found] = personal_data_in(Part(part="instructions", text=text))
    assert (found.title, found.severity) == (title, "warn")


@pytest.mark.parametrize(
    "text",
    [
        "me@example.com, a@b.test, noreply@github.com, git@github.com:acme/x.git",
        "/home/agent/x and /Users/runner/y",
        "127.0.0.1, 10.0.0.1, 192.168.1.1, 203.0.113.9, version 1.2.3.4, 999.1.1.1",
        "@decorator and a@b",
    ],
)
def test_what_stands_for_nobody_is_left_alone(text: str) -> None:
    assert personal_data_in(Part(part="instructions", text=text)) == []
