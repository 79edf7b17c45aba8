"""Finds the answer in the instructions: runs of words that also stand in what the reference adds, and its new names.

Deterministic, after the protocol of the well-known benchmarks: 8 words in a row block, names warn. A section called
"Interface" may name what hidden tests call: saying that is the right way to make a task solvable.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tasks.findings.base import Found, Part, line_of

RUN = 8
LEAST_NAME = 4
MOST_NAMES = 12

WORD = re.compile(r"\w+")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
TEST_NAME = re.compile(r"\b(?:test_\w{3,}|Test[A-Z]\w{2,})\b")
CHANGE_LINK = re.compile(r"https?://[^\s)>\]]+/(?:pull|pulls|merge_requests|commit|commits|-/commit)/[\w.]+")
HEADING = re.compile(r"^(#{1,6})[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
INTERFACE = re.compile(r"\binterface\b|\bsignatures?\b|\bAPI\b", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """What solves a task: blocks of lines that the reference adds, and everything that stood there before."""

    added: tuple[str, ...]
    known: str
    test_names: frozenset[str]
    new_paths: tuple[str, ...]


def answer_of(diff: str, tests: Iterable[tuple[str, str]]) -> Answer:
    """Read a unified diff and the hidden tests (path, text)."""
    blocks: list[str] = []
    block: list[str] = []
    known: list[str] = []
    new_paths: list[str] = []
    before = ""
    for line in [*diff.splitlines(), ""]:
        is_added = line.startswith("+") and not line.startswith("+++ ")
        if is_added:
            block.append(line[1:])
            continue
        if block:
            blocks.append("\n".join(block))
            block = []
        if line.startswith("+++ b/") and before == "--- /dev/null":
            new_paths.append(line[6:].split("\t")[0])
        before = line
        if line.startswith((" ", "-")) and not line.startswith("--- "):
            known.append(line[1:])
        elif line.startswith(("@@", "--- a/")):
            known.append(line)
    names = {name for _, text in tests for name in TEST_NAME.findall(text)}
    return Answer(tuple(blocks), "\n".join(known), frozenset(names), tuple(new_paths))


def leaks_in(instructions: str, answer: Answer) -> list[Found]:
    """Return where the instructions give the answer away."""
    interfaces = list(_interface_sections(instructions))
    found = list(_verbatim(instructions, answer, interfaces))
    told = {name for block in answer.added for name in NAME.findall(block)} - set(NAME.findall(answer.known))
    told = {name for name in told if len(name) >= LEAST_NAME and _is_a_name(name)}
    found += _names(instructions, told, interfaces, "New names of the reference", "They tell how it is built")
    tests = set(answer.test_names) - told
    found += _names(instructions, tests, interfaces, "Names of hidden tests", "They tell what is tested")
    paths = {path for path in answer.new_paths if path in instructions and path not in answer.known}
    found += _names(instructions, paths, interfaces, "Files that the reference adds", "They tell where it is built")
    for match in CHANGE_LINK.finditer(instructions):
        found.append(
            _found(instructions, match.span(), "A link to a change", "It may lead to the answer. Cut it.", match[0])
        )
    return found


def _verbatim(text: str, answer: Answer, interfaces: list[tuple[int, int]]) -> Iterator[Found]:
    """Find the longest runs of at least RUN words that the instructions share with an added block."""
    words = [(match[0].lower(), match.start(), match.end()) for match in WORD.finditer(text)]
    grams: set[tuple[str, ...]] = set()
    for block in answer.added:
        said = [word.lower() for word in WORD.findall(block)]
        grams.update(tuple(said[at : at + RUN]) for at in range(len(said) - RUN + 1))
    known = [word.lower() for word in WORD.findall(answer.known)]
    grams -= {tuple(known[at : at + RUN]) for at in range(len(known) - RUN + 1)}
    at = 0
    while at <= len(words) - RUN:
        last = at
        while last <= len(words) - RUN and tuple(word for word, _, _ in words[last : last + RUN]) in grams:
            last += 1
        if last == at:
            at += 1
            continue
        end = last + RUN - 1
        span = words[at][1], words[end - 1][2]
        inside = _is_within(span, interfaces)
        message = f"{end - at} words in a row match what the reference adds."
        yield Found(
            kind="leak",
            severity="warn" if inside else "block",
            title="The answer is in the instructions",
            message=f"{message} {'It stands in the interface section.' if inside else 'This blocks publishing.'}",
            part="instructions",
            start=span[0],
            end=span[1],
            line=line_of(text, span[0]),
            mend="cut",
            essence=" ".join(word for word, _, _ in words[at:end]),
        )
        at = end


def _names(text: str, names: Iterable[str], interfaces: list[tuple[int, int]], title: str, why: str) -> Iterator[Found]:
    """Find names outside of interface sections; one finding for all of them, at the place of the first."""
    places: dict[str, int] = {}
    for name in sorted(names):
        for match in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text):
            if not _is_within(match.span(), interfaces):
                places.setdefault(name, match.start())
    if not places:
        return
    first = min(places, key=lambda name: places[name])
    listed = sorted(places, key=lambda name: places[name])
    more = f" and {len(listed) - MOST_NAMES} more" if len(listed) > MOST_NAMES else ""
    message = f"{', '.join(listed[:MOST_NAMES])}{more}. {why}; name in a section called Interface what tests call."
    yield _found(text, (places[first], places[first] + len(first)), title, message, " ".join(sorted(places)))


def _found(text: str, span: tuple[int, int], title: str, message: str, essence: str) -> Found:
    return Found(
        kind="leak",
        severity="warn",
        title=title,
        message=message[:1000],
        part="instructions",
        start=span[0],
        end=span[1],
        line=line_of(text, span[0]),
        essence=essence,
    )


def _is_a_name(name: str) -> bool:
    """Whether it is a name that somebody made up, and not a word of the language."""
    return "_" in name.strip("_") or (name != name.lower() and name != name.capitalize() and name != name.upper())


def _interface_sections(text: str) -> Iterator[tuple[int, int]]:
    headings = list(HEADING.finditer(text))
    for number, heading in enumerate(headings):
        if not INTERFACE.search(heading[2]):
            continue
        level = len(heading[1])
        ends = (other.start() for other in headings[number + 1 :] if len(other[1]) <= level)
        yield heading.start(), next(ends, len(text))


def _is_within(span: tuple[int, int], sections: list[tuple[int, int]]) -> bool:
    return any(start <= span[0] and span[1] <= end for start, end in sections)


def leak_score(instructions: Part, answer: Answer) -> float:
    """Return the share of the reference's new names that the instructions say, from 0 to 1; 0 without new names."""
    told = {name for block in answer.added for name in NAME.findall(block)} - set(NAME.findall(answer.known))
    told = {name for name in told if len(name) >= LEAST_NAME}
    said = set(NAME.findall(instructions.text))
    return len(told & said) / len(told) if told else 0.0
