"""Which session a call of Claude Code comes from."""

import os
import time

import pytest

from tasks.capture.mcp import threads

FIRST, SECOND = "11111111-2222-4333-8444-555555555555", "22222222-2222-4333-8444-555555555555"


@pytest.fixture
def transcript(tmp_path, monkeypatch):
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("CLAUDE_CODE_SESSION_ID", FIRST)

    def write(name, text):
        path = tmp_path / "projects" / "-work" / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_after_clear_it_is_the_new_session(transcript):
    transcript(FIRST, '{"id": "toolu_old"}\n')
    transcript(SECOND, '{"id": "toolu_new"}\n')
    assert threads.claude_session("toolu_new") == SECOND


def test_without_a_transcript_it_is_the_one_that_the_server_was_started_with(transcript, monkeypatch):
    assert threads.claude_session("toolu_new") == FIRST
    monkeypatch.delenv("CLAUDE_CODE_SESSION_ID")
    assert threads.claude_session("toolu_new") == ""


def test_what_is_no_session_or_long_past_or_in_two_is_not_believed(transcript):
    transcript("agent-7", '{"id": "toolu_new"}\n')
    old = transcript(SECOND, '{"id": "toolu_new"}\n')
    os.utime(old, (time.time() - 1000, time.time() - 1000))
    assert threads.claude_session("toolu_new") == FIRST
    os.utime(old)
    transcript("33333333-2222-4333-8444-555555555555", '{"id": "toolu_new"}\n')
    assert threads.claude_session("toolu_new") == FIRST
    assert threads.claude_session("../*") == FIRST
