"""Whatever bytes there are: nothing crashes, and reading in pieces gives the same as reading at once."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.builders import make_team
from tests.traces.wire import FILES, picture
from traces.importing import ImportCursor, import_paths
from traces.models import Session
from traces.readers import readers, wire
from traces.readers.base import NotReadable
from traces.readers.claude_code import ClaudeCodeReader
from traces.readers.codex import CodexReader

QUICK = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
FEW = settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
TRANSCRIPTS = ["codex-plain.jsonl", "codex-code-mode.jsonl", "codex-old.jsonl", "claude.jsonl"]


def documents(name: str) -> list[dict]:
    return [json.loads(line) for line in (FILES / name).read_bytes().splitlines()]


def places(value, path=()):
    """Yield the path of every value inside of a document."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


@st.composite
def spoilt(draw):
    """A real transcript of which some values are replaced by anything."""
    found = documents(draw(st.sampled_from(TRANSCRIPTS)))
    for _ in range(draw(st.integers(1, 6))):
        line = draw(st.integers(0, len(found) - 1))
        path = draw(st.sampled_from(sorted(places(found[line]), key=str)))
        if path:
            holder = found[line]
            for key in path[:-1]:
                holder = holder[key]
            holder[path[-1]] = draw(JSON)
    return b"".join(json.dumps(document).encode() + b"\n" for document in found)


@QUICK
@given(
    content=st.binary(max_size=400),
    name=st.sampled_from(["rollout-a.jsonl", "a.jsonl", "a.json", "a.db", "a.jsonl.gz"]),
)
def test_no_reader_crashes_on_any_bytes(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    for reader in readers():
        reader.recognises(path)
        try:
            for batch in reader.read(path, {}):
                json.dumps(batch.position)
        except NotReadable:
            continue


@QUICK
@given(
    body=st.text(max_size=200) | JSON.map(json.dumps) | JSON.map(lambda v: f"data: {json.dumps(v)}\n\n"), message=JSON
)
def test_no_answer_and_no_message_crashes(body, message):
    wire.read_answer(body)
    wire.message_blocks(message)
    wire.split_request(message)


@pytest.mark.django_db
@FEW
@given(content=spoilt())
def test_a_spoilt_transcript_is_imported_as_far_as_it_is_good(tmp_path, content):
    path = tmp_path / "rollout-1.jsonl"
    path.write_bytes(content)
    ImportCursor.objects.all().delete()
    team = make_team()
    import_paths([path], team=team)
    before = picture()
    ImportCursor.objects.all().delete()
    import_paths([path], team=team)
    assert picture() == before
    Session.objects.all().delete()


@pytest.mark.django_db
@FEW
@given(data=st.data(), name=st.sampled_from(TRANSCRIPTS))
def test_reading_in_two_pieces_gives_the_same_rows(tmp_path, data, name):
    whole = (FILES / name).read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path = tmp_path / ("rollout-1.jsonl" if name.startswith("codex") else "s.jsonl")
    pictures = []
    for pieces in ([whole[:cut], whole], [whole]):
        Session.objects.all().delete()
        ImportCursor.objects.all().delete()
        team = make_team()
        for piece in pieces:
            path.write_bytes(piece)
            import_paths([path], team=team)
        pictures.append([({**facts, "team": None}, *rest) for facts, *rest in picture()])
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize(
    ("reader", "name"), [(CodexReader(), "codex-code-mode.jsonl"), (ClaudeCodeReader(), "claude.jsonl")]
)
def test_every_cut_leaves_a_position_to_go_on_from(tmp_path, reader, name):
    whole, path = (FILES / name).read_bytes(), Path(tmp_path / "rollout-1.jsonl")
    for cut in range(0, len(whole), 997):
        path.write_bytes(whole[:cut])
        position = {}
        for batch in reader.read(path, {}):
            position = json.loads(json.dumps(batch.position))
        path.write_bytes(whole)
        for batch in reader.read(path, position):
            assert batch.problems == []
            position = batch.position
        assert position["offset"] == len(whole)


def test_an_id_never_becomes_a_path():
    from traces.readers.values import safe_id

    for hostile in ("../x", "/etc/passwd", "a/../b", "..", "a\x00b", "a b", "x" * 5000, "ä", ".hidden"):
        assert safe_id(hostile).startswith("odd-")
    assert safe_id("01a1fcb6-2fc1-73a1-8c0e-8a13d611c700") == "01a1fcb6-2fc1-73a1-8c0e-8a13d611c700"
    assert safe_id(None) == safe_id("") == ""
