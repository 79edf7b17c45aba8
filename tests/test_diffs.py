"""Diffs on pages: read as git means them, bounded, and harmless whatever they hold."""

import re
import time
from html import unescape
from html.parser import HTMLParser

from hypothesis import given, settings
from hypothesis import strategies as st

from oneshot import difflines, diffs, store
from oneshot.visible import visible, without_colours


def patch(body: str, path: str = "a.py", old: int = 1, new: int = 1) -> bytes:
    """Return a diff of one file with one hunk; the counts are those of its lines."""
    lines = body.strip("\n").split("\n")
    removed = sum(line[:1] in "- " for line in lines)
    added = sum(line[:1] in "+ " for line in lines)
    return (
        f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n@@ -{old},{removed} +{new},{added} @@\n"
        + "\n".join(lines)
        + "\n"
    ).encode()


def rows(data: bytes) -> str:
    return "".join(file.rows for file in diffs.render(data).files)


def text_of(html: str) -> str:
    return unescape(re.sub(r"<[^>]*>", "", html))


def test_lines_carry_their_numbers_and_signs():
    html = rows(patch(" one\n-two\n+zwei\n three", old=10, new=20))

    cells = re.findall(r'<td class="ln">(\d+)</td><td class="sg">(.?)</td>', html)
    assert cells == [("20", ""), ("11", "\u2212"), ("21", "+"), ("22", "")]


def test_files_are_told_apart_by_what_happened_to_them():
    data = b"""diff --git a/new.py b/new.py
new file mode 100755
index 0000000..e69de29
--- /dev/null
+++ b/new.py
@@ -0,0 +1 @@
+x = 1
diff --git a/gone.py b/gone.py
deleted file mode 100644
index e69de29..0000000
--- a/gone.py
+++ /dev/null
@@ -1 +0,0 @@
-x = 1
diff --git a/old name.txt b/new name.txt
similarity index 100%
rename from old name.txt
rename to new name.txt
diff --git a/run.sh b/run.sh
old mode 100644
new mode 100755
diff --git a/logo.png b/logo.png
index 1234567..89abcde 100644
GIT binary patch
literal 3
Kc${NkU|;|M00aO5

diff --git a/link b/link
new file mode 120000
--- /dev/null
+++ b/link
@@ -0,0 +1 @@
+/etc/passwd
\\ No newline at end of file
diff --git a/empty b/empty
new file mode 100644
index 0000000..e69de29
"""
    files = diffs.render(data).files

    assert [(file.path, file.status, file.note, file.hidden) for file in files] == [
        ("new.py", "added", "new file, executable", ""),
        ("gone.py", "removed", "deleted", ""),
        ("new name.txt", "renamed", "renamed from old name.txt", "No line changed"),
        ("run.sh", "changed", "mode 100644 to 100755", "No line changed"),
        ("logo.png", "changed", "", "Binary file"),
        ("link", "added", "new file, symbolic link", ""),
        ("empty", "added", "new file", "Empty file"),
    ]
    assert (files[0].added, files[1].removed) == (1, 1)
    assert "No newline at the end" in files[5].rows


def test_quoted_and_spaced_paths_are_read_as_git_means_them():
    quoted = b'diff --git "a/caf\\303\\251\\t.py" "b/caf\\303\\251\\t.py"\nold mode 100644\nnew mode 100755\n'
    spaced = b"diff --git a/a b b/a b\nold mode 100644\nnew mode 100755\n"

    assert [file.path for file in diffs.render(quoted + spaced).files] == ["café␉.py", "a b"]


def test_a_mailbox_shows_its_patches_and_not_its_letters():
    data = b"From 1234 Mon Sep 17 00:00:00 2001\nSubject: [PATCH] +fix\n\n---\n a.py | 2 +-\n\n" + patch("-a\n+b")
    files = diffs.render(data + b"-- \n2.40.1\n\n").files

    assert [(file.path, file.added, file.removed) for file in files] == [("a.py", 1, 1)]


def test_counts_that_lie_end_their_hunk_at_the_next_file():
    lying = patch("+a", "one.py").replace(b"@@ -1,0 +1,1 @@", b"@@ -1,999999 +1,999999 @@")

    assert [file.path for file in diffs.render(lying + patch("+b", "two.py")).files] == ["one.py", "two.py"]


def test_syntax_is_coloured_by_the_kind_of_file():
    html = rows(patch('+def f():  # why\n+    return "x", 12'))

    assert '<span class="k">def</span>' in html
    assert '<span class="c"># why</span>' in html
    assert '<span class="s">&quot;' in html
    assert '<span class="m">12</span>' in html
    assert "<span" not in rows(patch("+def f():", "a.unknown"))


def test_a_text_over_several_lines_keeps_its_colour():
    html = rows(patch('+x = """one\n+two if three\n+"""'))

    assert '<span class="s">two if three</span>' in html


def test_changed_words_are_marked_and_unlike_lines_are_not():
    html = rows(patch("-total = price * count\n+total = price * (count + 1)", "a.txt"))
    assert "<ins>(</ins>count<ins> + 1)</ins>" in html

    whole = rows(patch("-the old way\n+something else entirely", "a.txt"))
    assert "<ins>" not in whole
    assert "<del>" not in whole


def test_a_line_is_matched_with_the_added_line_most_like_it():
    html = rows(patch("-return compute(a, b)\n+check(a)\n+print(1)\n+return compute(a, b, c)", "a.txt"))

    assert "compute(a, b<ins>, c</ins>)" in html


def test_markup_in_a_diff_stays_text():
    attack = "<script>alert(1)</script><img src=x onerror='a'>\"&amp;"
    html = rows(patch(f"-{attack}\n+{attack} more\n", f"{attack[:8]}.html"))

    assert "<script" not in html
    assert "<img" not in html
    assert text_of(html).count(attack) == 2


def test_invisible_characters_are_written_out():
    html = rows(patch("+a\u202eb\u200bc\x07d\x1b[31me\x85"))

    for name in ("\u2039U+202E\u203a", "\u2039U+200B\u203a", "\u2407", "\u241b", "\u2039U+0085\u203a"):
        assert name in html
    assert "\u202e" not in html


def test_windows_line_ends_are_shown_only_where_they_differ():
    assert "\u240d" not in rows(patch("-a\r\n+b\r\n c\r"))
    assert "\u240d" in rows(patch("-a\n+a\r"))


def test_a_long_file_is_one_row_that_can_be_had_alone():
    store_digest = store.put(patch("\n".join(f"+line {n}" for n in range(2500)), "long.txt") + patch("+x", "b.py"))
    long, short = diffs.of(store_digest).files

    assert (long.rows, long.hidden, long.loadable, long.added) == ("", "2,500 lines", True, 2500)
    assert short.rows
    alone = diffs.file_of(store_digest, 0)
    assert alone is not None
    assert alone.rows.count("<tr") == 2501
    assert diffs.file_of(store_digest, 7) is None
    assert diffs.file_of("", 0) is None


def test_a_long_diff_hides_what_is_beyond_its_bound():
    data = b"".join(patch("\n".join(f"+line {n}" for n in range(1900)), f"f{i}.txt") for i in range(5))
    files = diffs.render(data).files

    assert [bool(file.rows) for file in files] == [True, True, True, False, False]
    assert files[4].hidden == "1,900 lines, left out because this diff is long"


def test_very_many_files_and_very_many_bytes_are_counted_and_not_shown():
    many = diffs.render(b"".join(patch("+x", f"f{n}.txt") for n in range(diffs.MAX_FILES + 20)))
    assert (len(many.files), many.left_out, many.added) == (diffs.MAX_FILES, 20, diffs.MAX_FILES + 20)

    large = diffs.render(b"+" * (diffs.MAX_BYTES + 1))
    assert not large.files
    assert "20,000,001 bytes" in large.problem


def test_a_very_long_line_is_cut():
    html = rows(patch("+" + "x" * 50_000))

    assert "49,000 more characters" in html
    assert len(html) < 3_000


def test_what_is_no_diff_says_so():
    assert diffs.render(b"hello").problem == "This is not a diff that git would make."
    assert diffs.render(b"") == diffs.Diff()


def test_two_diffs_stand_side_by_side_by_path():
    mine = diffs.render(patch("+a", "one.py") + patch("+b", "two.py"))
    theirs = diffs.render(patch("+c", "two.py") + patch("+d", "three.py"))

    pairs = diffs.side_by_side(mine, theirs)
    assert [(path, bool(left), bool(right)) for path, left, right in pairs] == [
        ("one.py", True, False),
        ("two.py", True, True),
        ("three.py", False, True),
    ]


def test_hostile_text_costs_bounded_time():
    # Shapes that make comparing words or reading syntax slow; the bound is generous, quadratic work would be minutes.
    words = "\n".join(["-" + "a b " * 60] * 900 + ["+" + "b a " * 60] * 900)
    syntax = "\n".join("+" + "/*{{`" * 80 for _ in range(1900))
    started = time.perf_counter()
    diffs.render(patch(words, "a.py") + patch(syntax, "b.cs") + patch(syntax, "c.ts"))

    budget = difflines.SYNTAX_SECONDS + difflines.WORD_SECONDS
    assert time.perf_counter() - started < 10 * budget


class Elements(HTMLParser):
    """Collects the elements and attributes that a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)
        self.found.update(f"{tag}@{name}" for name, _ in attrs)


OURS = {
    "tr", "td", "span", "ins", "del", "i", "tr@class", "td@class", "span@class", "span@title", "i@class",
}  # fmt: skip
pieces = st.sampled_from(
    [b"diff --git a/x.py b/x.py\n", b"--- a/x.py\n", b"+++ b/x.html\n", b"@@ -1,3 +1,3 @@ <b>\n", b"+", b"-", b" ",
     b"\n", b"\\ No newline\n", b"<script>", b"'\"", b"&lt;", b"\xe2\x80\xae", b"\xff\xfe", b"\x00", b"\r\n",
     b"rename from <i>\n", b"new file mode 1\n", b'diff --git "a/\\777" "b/\\n"\n', b"GIT binary patch\n", b"def x("]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(pieces, st.binary(max_size=30)), max_size=40).map(b"".join))
def test_rendering_never_raises_and_adds_no_foreign_element(data):
    diff = diffs.render(data)

    seen = Elements()
    for file in diff.files:
        seen.feed(file.rows)
        assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\u202a-\u202e]", file.rows + file.path + file.note)
    assert seen.found <= OURS


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=40).map(lambda text: re.sub(r"[\n\r]", "", text)), min_size=1, max_size=8))
def test_every_line_can_be_read_in_full(lines):
    html = rows(patch("\n".join("+" + line for line in lines), "a.js").replace(b"\r", b""))

    shown = [text_of(cell) for cell in re.findall(r'<td class="tx[^"]*">(.*?)</td>', html, re.DOTALL)[1:]]
    assert shown == [visible(line.encode("utf-8", "replace").decode()) for line in lines]


def test_terminal_colours_are_dropped_from_output():
    assert without_colours("\x1b[1;31mFAILED\x1b[0m test\r\n10%\r50%\r100%\r\n") == "FAILED test\n100%\n"
    assert without_colours("\x1b]0;title\x07x\x1b[2Ky\x9b") == "xy\u2039U+009B\u203a"
