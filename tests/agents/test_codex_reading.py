"""Reading what Codex says: hostile, cut off or doubled, it never breaks and never counts twice."""

import json
import tomllib

from hypothesis import given
from hypothesis import strategies as st

from runs.agents.codex.events import Events, model_of_rollouts, tokens_of_rollouts
from runs.agents.codex.invocation import toml
from traces.proxy.wire.usage import AnswerReader


def record(response, thread="t", **usage):
    payload = {"thread_id": thread, "response_id": response, "usage": usage}
    return json.dumps({"type": "token_usage_record", "payload": payload}).encode() + b"\n"


def test_each_answer_counts_once_over_all_transcripts():
    one = record("r1", input_tokens=10, cached_input_tokens=4, output_tokens=1) * 2
    two = record("r1", "u", input_tokens=5, output_tokens=2) + record("r2", input_tokens=7, output_tokens=3)
    tokens = tokens_of_rollouts([one, two])
    assert (tokens.input, tokens.cached, tokens.output) == (22, 4, 6)


def test_a_transcript_that_ends_in_the_middle_is_read_as_far_as_it_goes():
    cut = record("r1", input_tokens=10, output_tokens=1) + record("r2", input_tokens=9, output_tokens=1)[:-20]
    assert tokens_of_rollouts([cut]).input == 10
    assert tokens_of_rollouts([b"", b"{}\n"]) is None
    assert model_of_rollouts([b'{"type": "turn_context", "payload": 3}\n']) == ""


def test_events_are_read_in_pieces_of_any_size():
    said = []
    events = Events(lambda source, text: said.append(text))
    lines = [
        {"type": "thread.started", "thread_id": "abc"},
        {"type": "item.started", "item": {"type": "command_execution", "command": "ls"}},
        {"type": "item.completed", "item": {"type": "command_execution", "aggregated_output": "a\nb", "exit_code": 2}},
        {"type": "item.completed", "item": {"type": "agent_message", "text": "Done."}},
        {"type": "turn.completed", "usage": {"input_tokens": 5, "cached_input_tokens": 1, "output_tokens": 2}},
    ]
    for byte in "\n".join(map(json.dumps, lines)).encode():
        events.feed(bytes([byte]))
    events.end()
    assert said == ["$ ls", "  a\n  b\n  (exit status 2)", "Done."]
    assert (events.thread_id, events.final_message, events.tokens.input, events.tried) == ("abc", "Done.", 5, True)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
KINDS = st.sampled_from(["item.completed", "item.started", "turn.completed", "turn.failed", "error", "thread.started"])
ITEMS = st.dictionaries(
    st.sampled_from(["type", "text", "changes", "command", "aggregated_output", "exit_code", "message"]),
    ANYTHING | st.sampled_from(["file_change", "command_execution", "agent_message", "error"]),
)
EVENTS = st.fixed_dictionaries(
    {"type": KINDS}, optional={"item": ANYTHING | ITEMS, "error": ANYTHING, "usage": ANYTHING}
)


@given(st.lists(EVENTS.map(lambda event: json.dumps(event).encode()) | st.binary(max_size=50), max_size=5))
def test_no_event_breaks_the_reading(lines):
    events = Events(lambda source, text: None)
    events.feed(b"\n".join(lines))
    events.end()
    assert isinstance(events.final_message, str)
    tokens_of_rollouts(lines)
    model_of_rollouts(lines)


@given(ANYTHING, st.sampled_from(["response.completed", "response.failed", "error", None]), st.booleans())
def test_no_answer_of_a_service_breaks_the_counting(document, kind, in_stream):
    event = document if kind is None else {"type": kind, "response": document, "error": document}
    if in_stream:
        reader = AnswerReader("text/event-stream")
        reader.feed(b"data: " + json.dumps(event).encode() + b"\n\ndata: {\n\n\xff\n")
    else:
        reader = AnswerReader("application/json")
        reader.feed(json.dumps(event).encode())
    reader.finish()


VALUES = st.recursive(
    st.booleans() | st.integers(-(2**60), 2**60) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc.\"' \n", min_size=1), inner, max_size=3),
    max_leaves=6,
)


@given(VALUES)
def test_settings_arrive_as_they_were_written(value):
    assert tomllib.loads(f"x = {toml(value)}")["x"] == value
