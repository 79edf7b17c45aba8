"""What comes out of the sandbox is believed only where it is signed."""

import hashlib
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.grading.channel import Secrets, read_frames, read_transcript

TOKENS = Secrets()


def frame(sequence: int, kind: str, payload, key: str = TOKENS.key) -> bytes:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    head = f"{sequence} {kind} {len(data)}\n".encode()
    signature = hmac.new(bytes.fromhex(key), head + data, hashlib.sha256).hexdigest()
    return f"@{signature} {kind} {len(data)}\n".encode() + data + b"\n"


GOOD = (
    frame(0, "case", {"id": "a::b", "verdict": "passed"})
    + frame(1, "report", b"<x/>\n@")
    + frame(2, "end", {"status": 1})
)


def test_signed_frames_are_read_in_order():
    frames = read_frames(GOOD, TOKENS)
    assert frames.cases == [{"id": "a::b", "verdict": "passed"}]
    assert frames.report == b"<x/>\n@"
    assert frames.end == {"status": 1}
    assert not frames.forged


@pytest.mark.parametrize(
    "body",
    [
        b"1 passed\n" + GOOD,
        GOOD + b"1 passed\n",
        frame(0, "report", b"<x/>", key="00" * 32),
        frame(0, "case", {}) + frame(0, "case", {}),
        frame(1, "end", {"status": 0}),
        GOOD.replace(b'"passed"', b'"failed"'),
        GOOD.replace(b"end", b"fin"),
    ],
    ids=["before", "after", "other key", "repeated", "out of order", "changed", "other kind"],
)
def test_anything_unsigned_is_told(body):
    assert read_frames(body, TOKENS).forged


@pytest.mark.parametrize("length", [0, 10, 60, 90, 200])
def test_a_frame_that_was_cut_off_is_no_forgery(length):
    frames = read_frames(GOOD[:length], TOKENS)
    assert not frames.forged
    assert frames.end is None


@given(st.binary(max_size=300))
def test_no_bytes_make_a_report(body):
    assert read_frames(body, TOKENS).report is None
    assert read_transcript(body, TOKENS).state == ""


def test_a_transcript_ends_only_with_the_second_token():
    begun, ended = TOKENS.begun.encode(), TOKENS.ended.encode()
    transcript = read_transcript(begun + b" ran\nabc\n" + ended + b" exit 1\n", TOKENS)
    assert (transcript.state, transcript.body, transcript.status) == ("ran", b"abc", 1)
    transcript = read_transcript(begun + b" ran\nabc\nffff exit 0\n", TOKENS)
    assert transcript.status is None
    assert read_transcript(b"ffff ran\nabc\n", TOKENS).state == ""


def test_reports_are_taken_by_their_length():
    begun, ended = TOKENS.begun.encode(), TOKENS.ended.encode()
    head = begun + b" ran\n\n" + ended + b" exit 0\n"
    transcript = read_transcript(head + ended + b" file 6\n<a/>\n\n\n" + ended + b" file 4\n<b/>\n", TOKENS)
    assert transcript.reports == (b"<a/>\n\n", b"<b/>")


def test_git_says_why_a_patch_failed():
    transcript = read_transcript(TOKENS.begun.encode() + b" patch\nerror: calc.py: no such file\n", TOKENS)
    assert (transcript.state, transcript.words) == ("patch", "error: calc.py: no such file")
