"""Markdown that strangers wrote."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneshot.templatetags.prose import MOST_CHARS, prose, shown

# What markdown-it may write, and nothing else.
ALLOWED = re.compile(
    r"</?(?:p|h[3-6]|ul|ol|li|pre|code|em|strong|blockquote|table|thead|tbody|tr|th|td|hr|br|a)"
    r"(?: (?:href=\"(?:https?://|mailto:)[^\"<>]*\"|rel=\"nofollow noopener noreferrer\"|title=\"[^\"<>]*\""
    r"|class=\"language-[^\"<>]*\"|start=\"\d+\"))* ?/?>",
    re.IGNORECASE,
)


def tags_outside_of_what_is_allowed(html: str) -> str:
    return "".join(re.findall(r"<[^>]*>?", ALLOWED.sub("", html)))


@given(st.text(alphabet=st.sampled_from(list("abc <>\"'&#*_`[]()!|-:\\/\n\t\r\x00\u202e=+~^{}1.htps")), max_size=200))
def test_no_text_makes_markup_of_its_own(text: str) -> None:
    assert tags_outside_of_what_is_allowed(prose(text)) == ""


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "![p](https://elsewhere.example/p.png)",
        "[k](javascript:alert(1))",
        "[k](data:text/html,x)",
        "[k](//elsewhere.example)",
        "|a|\n|:-:|\n|b|",
        '<a href="https://x.example" onclick="x()">y</a>',
        "[a]: javascript:alert(1)\n[a]",
    ],
)
def test_scripts_pictures_styles_and_odd_links_do_not_get_through(text: str) -> None:
    html = prose(text)
    assert tags_outside_of_what_is_allowed(html) == ""
    assert not re.search(r"<[^>]*(?:src|style|onerror|onclick|javascript)", html)


def test_headings_stay_below_those_of_the_page() -> None:
    assert "<h3>Title</h3>" in prose("# Title")
    assert "<h1" not in prose("# Title\n\nx\n===")


def test_what_is_left_out_of_a_long_text_is_said() -> None:
    assert "5 more characters are left out" in prose("a" * (MOST_CHARS + 5))


def test_characters_that_turn_a_line_around_are_written_out() -> None:
    assert "U+202E" in prose("a\u202eb")
    assert "U+202E" in shown("a\u202eb")


@pytest.mark.parametrize("unit", ["[", "*a ", "> ", "`", "![[", "[a](", "*_", "- ", "\\", "|a", "&amp;", "<a "])
def test_no_long_repetition_keeps_a_page_waiting(unit: str) -> None:
    assert prose(unit * (MOST_CHARS // len(unit)))
