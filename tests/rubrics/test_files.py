"""Rubrics as JSON and TOML files."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.rubrics.files import BadRubric, as_json, as_toml, read_rubric
from tasks.rubrics.templates import TEMPLATES

BUG = [dict(one) for one in TEMPLATES["bug"][1]]

texts = (
    st.text(min_size=1, max_size=40)
    .map(str.strip)
    .filter(lambda text: text and "\0" not in text and text.isprintable())
)
criteria = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True),
            "text": texts,
            "weight": st.integers(0, 9999).map(str),
            "kind": st.sampled_from(["essential", "important", "optional", "pitfall"]),
            "checks": st.lists(texts, max_size=2),
            "sees": st.sampled_from([["diff"], ["diff", "tests"], ["trajectory", "final_message"]]),
        }
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda one: one["key"],
)


@given(criteria)
def test_a_rubric_comes_back_as_it_went(rubric) -> None:
    assert read_rubric(as_json(rubric).encode(), "rubric.json") == rubric
    assert read_rubric(as_toml(rubric).encode(), "rubric.toml") == rubric


def test_the_originals_form_is_read_from_a_whole_tb_meta() -> None:
    meta = {"evaluation": {"rubrics": [{"id": "testing", "criterion": "Tests are there.", "weight": 0.3}]}}
    [read] = read_rubric(json.dumps(meta).encode(), "tb_meta.json")
    assert (read["key"], read["text"], read["weight"], read["kind"]) == (
        "testing",
        "Tests are there.",
        "0.3",
        "important",
    )


@pytest.mark.parametrize(
    ("data", "name", "said"),
    [
        (b"{", "a.json", "cannot be read"),
        (b"[[", "a.toml", "cannot be read"),
        (b"{}", "a.json", "no list called rubrics"),
        (b"[]", "a.json", "no list called rubrics"),
        (b"[1]", "a.json", r"rubrics\[1\] must be an object"),
        (b'[{"id": "a"}]', "a.json", "needs the sentence"),
        (b'[{"criterion": "a", "wieght": 1}]', "a.json", "'wieght', which is not known"),
        (b'[{"criterion": "a", "weight": "much"}]', "a.json", "weight of criterion 1"),
        (b'[{"criterion": "a", "kind": "vital"}]', "a.json", "kind of criterion 1"),
        (b'[{"id": "x", "criterion": "a"}, {"id": "x", "criterion": "b"}]', "a.json", "same key"),
        (b"\xff\xfe", "a.json", "cannot be read"),
        (b" " * 2_000_000, "a.json", "more than"),
    ],
)
def test_a_file_that_is_no_rubric_is_refused_with_its_place(data: bytes, name: str, said: str) -> None:
    with pytest.raises(BadRubric, match=said):
        read_rubric(data, name)


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    for name in ("a.json", "a.toml"):
        with contextlib.suppress(BadRubric):
            assert read_rubric(data, name)


def test_an_export_leaves_out_what_is_as_usual() -> None:
    rows = json.loads(as_json(BUG))["rubrics"]
    assert rows[0].keys() == {"id", "criterion", "weight", "kind"}
