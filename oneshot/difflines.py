"""One line of a diff as HTML: syntax colours, changed words, and hostile characters made visible.

Work per line is bounded, so that no diff, however made, keeps a page waiting.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import lru_cache

from pygments.lexer import Lexer
from pygments.lexers import find_lexer_class
from pygments.token import Comment, Keyword, Name, Number, Operator, String, _TokenType

from oneshot.visible import visible_html

# Lexers by name that stay fast on hostile input (tests/test_diffs.py feeds them some); others show plain text.
LEXER_BY_SUFFIX = {
    "py": "Python", "pyi": "Python", "pyx": "Python", "toml": "TOML", "ini": "INI", "cfg": "INI",
    "js": "JavaScript", "mjs": "JavaScript", "cjs": "JavaScript", "jsx": "JavaScript",
    "ts": "TypeScript", "tsx": "TypeScript", "mts": "TypeScript", "cts": "TypeScript",
    "go": "Go", "rs": "Rust", "c": "C", "h": "C", "cc": "C++", "cpp": "C++", "cxx": "C++", "hpp": "C++",
    "java": "Java", "kt": "Kotlin", "scala": "Scala", "swift": "Swift", "cs": "C#", "rb": "Ruby", "php": "PHP",
    "lua": "Lua", "pl": "Perl", "ex": "Elixir", "exs": "Elixir", "hs": "Haskell", "zig": "Zig", "dart": "Dart",
    "sh": "Bash", "bash": "Bash", "zsh": "Bash", "json": "JSON", "yaml": "YAML", "yml": "YAML",
    "html": "HTML", "xml": "XML", "css": "CSS", "scss": "SCSS", "sql": "SQL", "r": "S",
}  # fmt: skip
LEXER_BY_NAME = {"Makefile": "Makefile", "Dockerfile": "Docker", "Cargo.lock": "TOML", "go.mod": "Go"}

SYNTAX_SECONDS = 1.0
SYNTAX_CHARS = 400_000
WORD_SECONDS = 0.5
SYNTAX_LINE_CHARS = 500
SYNTAX_PIECE_CHARS = 20_000
LINE_CHARS = 1_000
PAIR_LINES = 12
PAIR_TOKENS = 100
PAIR_CHANGES = 12
ALIKE = 0.45

_WORDS = re.compile(r"\w+|\s+|.")
_HYPHEN = re.compile(r"-(?=\S)")

Span = tuple[int, int, str]


class Budget:
    """What colouring and comparing may still cost in one diff; what is over is shown plain."""

    def __init__(self) -> None:
        self.syntax_seconds = SYNTAX_SECONDS
        self.syntax_chars = SYNTAX_CHARS
        self.word_seconds = WORD_SECONDS


def lexer_name(path: str) -> str:
    """Return the name of the lexer for a file, or "" when it is shown without colours."""
    name = path.rpartition("/")[2]
    return LEXER_BY_NAME.get(name) or LEXER_BY_SUFFIX.get(name.rpartition(".")[2].lower() if "." in name else "", "")


@lru_cache(maxsize=64)
def _lexer(name: str) -> Lexer | None:
    found = find_lexer_class(name)
    return found() if found else None


@lru_cache(maxsize=512)
def _css_class(token: _TokenType) -> str:
    if token in Keyword or token is Operator.Word or token is Name.Tag:
        return "k"
    if token in String:
        return "s"
    if token in Number:
        return "m"
    return "c" if token in Comment else ""


def colours(lines: Sequence[str], lexer: str, budget: Budget) -> list[list[Span]]:
    """Return for each line its coloured (start, end, class) spans; none once the budget is spent.

    The lines of one side of a hunk are read together, so that a string or comment over several lines is one.
    """
    spans: list[list[Span]] = [[] for _ in lines]
    reader = _lexer(lexer) if lexer else None
    size = sum(map(len, lines)) + len(lines)
    if reader is None or size > budget.syntax_chars or max(map(len, lines), default=0) > SYNTAX_LINE_CHARS:
        return spans
    budget.syntax_chars -= size
    # A single step of a lexer cannot be interrupted, and some take time by the square of the text: keep it short.
    start = 0
    while start < len(lines) and budget.syntax_seconds > 0:
        end, chars = start, 0
        while end < len(lines) and (end == start or chars + len(lines[end]) < SYNTAX_PIECE_CHARS):
            chars += len(lines[end]) + 1
            end += 1
        _colour(lines[start:end], reader, spans, start, budget)
        start = end
    return spans


def _colour(lines: Sequence[str], reader: Lexer, spans: list[list[Span]], row: int, budget: Budget) -> None:
    """Fill in the spans of `lines`, of which the first is number `row`; stops when the seconds are spent."""
    started = time.perf_counter()
    column, end = 0, row + len(lines)
    for _, token, value in reader.get_tokens_unprocessed("\n".join(lines) + "\n"):
        css = _css_class(token)
        for number, part in enumerate(value.split("\n")):
            if number:
                row, column = row + 1, 0
            if css and part and row < end:
                spans[row].append((column, column + len(part), css))
            column += len(part)
        if time.perf_counter() - started > budget.syntax_seconds:
            break
    budget.syntax_seconds -= time.perf_counter() - started


def pairs(removed: Sequence[str], added: Sequence[str]) -> list[tuple[int, int]]:
    """Return (index removed, index added) of the lines that replace each other, in order and never crossing.

    Equally long blocks match line by line; otherwise small blocks are matched by the words they share, and large
    ones are not matched at all: a bound on the work matters more than a mark.
    """
    if len(removed) == len(added):
        return [(index, index) for index in range(len(removed))]
    if max(len(removed), len(added)) > PAIR_LINES:
        return []
    bags = [set(_WORDS.findall(line[:LINE_CHARS])) for line in added]
    found, after = [], 0
    for index, line in enumerate(removed):
        bag = set(_WORDS.findall(line[:LINE_CHARS]))
        scores = [
            (len(bag & other) / (len(bag | other) or 1), -position)
            for position, other in enumerate(bags)
            if position >= after
        ]
        score, position = max(scores, default=(0.0, 0))
        if score >= ALIKE:
            found.append((index, -position))
            after = 1 - position
    return found


def changed_words(old: str, new: str, budget: Budget) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the (start, end) spans that differ in each of two lines; none when they have little in common."""
    before, after = _WORDS.findall(old), _WORDS.findall(new)
    if not before or not after or max(len(before), len(after)) > PAIR_TOKENS or budget.word_seconds <= 0:
        return [], []
    started = time.perf_counter()
    try:
        return _changed(before, after)
    finally:
        budget.word_seconds -= time.perf_counter() - started


def _changed(before: list[str], after: list[str]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    blocks = [block for block in matcher.get_matching_blocks() if block.size]
    kept = sum(len(word) for block in blocks for word in before[block.a : block.a + block.size] if not word.isspace())
    longer = max(sum(len(word) for word in words if not word.isspace()) for words in (before, after))
    operations = [operation for operation in matcher.get_opcodes() if operation[0] != "equal"]
    if kept < ALIKE * longer or len(operations) > PAIR_CHANGES:
        return [], []
    removed = _joined([(first, last) for _, first, last, _, _ in operations], before)
    added = _joined([(first, last) for _, _, _, first, last in operations], after)
    return removed, added


def _joined(ranges: list[tuple[int, int]], words: list[str]) -> list[tuple[int, int]]:
    """Turn ranges of words into spans of characters; two with nothing but a space between become one."""
    offsets = [0]
    for word in words:
        offsets.append(offsets[-1] + len(word))
    spans: list[tuple[int, int]] = []
    last_word = -1
    for first, last in ranges:
        if first == last:
            continue
        if spans and "".join(words[last_word:first]).isspace():
            spans[-1] = (spans[-1][0], offsets[last])
        else:
            spans.append((offsets[first], offsets[last]))
        last_word = last
    return spans


def line_html(text: str, coloured: Sequence[Span], changed: Sequence[tuple[int, int]], mark: str) -> str:
    """Return one line as safe HTML. `mark` is the element around changed words: ins or del."""
    cut = text[:LINE_CHARS]
    out: list[str] = []
    position = 0
    for start, end in [*changed, (len(cut), len(cut))]:
        out.append(_coloured(cut, position, min(start, len(cut)), coloured))
        if start < min(end, len(cut)):
            out.append(f"<{mark}>{_coloured(cut, start, min(end, len(cut)), coloured)}</{mark}>")
        position = min(end, len(cut))
    if len(text) > len(cut):
        out.append(f'<span class="ctl">… {len(text) - len(cut):,} more characters</span>')
    return "".join(out)


def _coloured(text: str, start: int, end: int, coloured: Sequence[Span]) -> str:
    out: list[str] = []
    for first, last, css in coloured:
        if last <= start or first >= end:
            continue
        first, last = max(first, start), min(last, end)
        out.append(_plain(text[start:first]))
        out.append(f'<span class="{css}">{_plain(text[first:last])}</span>')
        start = last
    out.append(_plain(text[start:end]))
    return "".join(out)


def _plain(text: str) -> str:
    # Browsers may break a line after a hyphen, which tears -> and --option apart; the mark forbids it (runs.css).
    return _HYPHEN.sub('-<i class="j"></i>', visible_html(text)) if "-" in text else visible_html(text)


def indent_class(text: str) -> str:
    """Return the class that indents the wrapped rest of a line below its first word; "" when it has no indent."""
    columns = 0
    for character in text[:64]:
        if character == "\t":
            columns += 4 - columns % 4
        elif character == " ":
            columns += 1
        else:
            break
    return f" w{min(columns - columns % 2, 24)}" if columns > 1 else ""
