"""What the judge gets to see of a run: numbered lines, made harmless, cut in a fixed way that says what is missing.

Every line carries a reference (D diff, T tests, S trajectory, M final message, I instructions), so that no text of
the material can begin a line of the prompt, and so that a quotation can be checked against the lines it cites.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

from oneshot import diffs
from oneshot.visible import visible

LINE_CHARS = 1_000
# What is never shown in part: less of a file than this says nothing.
LEAST_PART_CHARS = 2_000
MOST_FILES = 300
# Of a reference, its bar and the line's end.
LABEL_CHARS = 8
MOST_NAMED = 100
MESSAGE_CHARS = 4_000
SHARES = {"instructions": 0.15, "tests": 0.1, "trajectory": 0.25}
# Written by tools: shown last, when there is room.
GENERATED = re.compile(
    r"(?:^|/)(?:package-lock\.json|yarn\.lock|pnpm-lock\.yaml|poetry\.lock|uv\.lock|Cargo\.lock|go\.sum|Gemfile\.lock)$"
    r"|(?:^|/)(?:node_modules|vendor|dist|build|__pycache__)/|\.min\.(?:js|css)$|\.(?:map|svg|snap)$"
)
_FENCE = re.compile(r"<(?=\s*/?\s*(?:untrusted|criterion|system|assistant|user)\b)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of material. `path`, `side` ("old" or "new") and `number` say where a line of a diff stands."""

    ref: str
    text: str
    path: str = ""
    side: str = ""
    number: int | None = None
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Omission:
    """Something that the judge does not see. `lines` is None when its length is not known."""

    section: str
    what: str
    lines: int | None
    reason: str

    def as_dict(self) -> dict[str, Any]:
        return {"section": self.section, "what": self.what[:300], "lines": self.lines, "reason": self.reason}


@dataclass(kw_only=True)
class Section:
    """One kind of material, ready for a prompt."""

    TITLES: ClassVar[dict[str, str]] = {
        "instructions": "What the agent was asked to do",
        "diff": "The change that the agent made, as a diff",
        "tests": "How the hidden tests ended after the change",
        "trajectory": "What the agent did, as it was recorded. Its own words about its work prove nothing",
        "final_message": "What the agent said last. Its own words about its work prove nothing",
    }
    PREFIXES: ClassVar[dict[str, str]] = {
        "instructions": "I",
        "diff": "D",
        "tests": "T",
        "trajectory": "S",
        "final_message": "M",
    }

    name: str
    lines: list[Line] = field(default_factory=list)
    omitted: list[Omission] = field(default_factory=list)
    # What the lines take up in a prompt, reference and bar included.
    chars: int = 0

    @property
    def title(self) -> str:
        return self.TITLES[self.name]

    def add(self, text: str, **where: Any) -> None:
        """Append one line under the next reference; the text is made harmless and cut to one line's length."""
        self.append(shown(text), **where)

    def append(self, text: str, **where: Any) -> None:
        """Append one line that is harmless already."""
        ref = f"{self.PREFIXES[self.name]}{len(self.lines) + 1:04d}"
        self.lines.append(Line(ref, text, **where))
        self.chars += len(text) + LABEL_CHARS


# Each criterion of a run is shown much the same lines.
@lru_cache(maxsize=16_384)
def shown(text: str, most: int = LINE_CHARS) -> str:
    """Return text as the judge sees it: one line, nothing invisible, no likeness of our fences, bounded."""
    long = len(text) - most
    text = visible(text[:most].replace("\n", "\u2424"))
    text = _FENCE.sub("\u2039", text)
    return f"{text}… {long} more characters" if long > 0 else text


@dataclass(frozen=True, kw_only=True)
class Material:
    """What is known of a run, before any of it is chosen for a criterion.

    `tests` are (group, test id, verdict, message). `steps` are (position, kind, name, text, result).
    """

    instructions: str
    diff: bytes
    tests: Sequence[tuple[str, str, str, str]] = ()
    test_summary: str = ""
    steps: Sequence[tuple[int, str, str, str, str]] = ()
    final_message: str = ""


def sections(material: Material, sees: Iterable[str], *, chars: int, mentions: str = "") -> list[Section]:
    """Return what one criterion's judge may see, within `chars` characters in all.

    `mentions` is the criterion's own text: files that it names come first. Equal input gives equal sections.
    """
    seen = set(sees) or {"diff", "tests"}
    found = [_text_section("instructions", material.instructions, int(chars * SHARES["instructions"]))]
    if "tests" in seen:
        found.append(_tests(material, int(chars * SHARES["tests"])))
    if "trajectory" in seen:
        found.append(_trajectory(material.steps, int(chars * SHARES["trajectory"])))
    if "final_message" in seen:
        found.append(_text_section("final_message", material.final_message, MESSAGE_CHARS))
    if "diff" in seen:
        left = chars - sum(section.chars for section in found)
        found.insert(1, _diff(material.diff, left, mentions))
    return found


def _text_section(name: str, text: str, chars: int) -> Section:
    section = Section(name=name)
    lines = text.split("\n") if text.strip() else ["(empty)"]
    for index, line in enumerate(lines):
        if section.chars + min(len(line), LINE_CHARS) > chars:
            _leave_out(section, name.replace("_", " "), len(lines) - index, "too long")
            break
        section.add(line)
    return section


def _leave_out(section: Section, what: str, lines: int | None, reason: str) -> None:
    section.omitted.append(Omission(section.name, shown(what), lines, reason))
    count = "" if lines is None else f", {lines} lines"
    section.add(f"[left out: {what}{count}, {reason}]")


# ── diff ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _diff(data: bytes, chars: int, mentions: str) -> Section:
    section = Section(name="diff")
    if not data.strip():
        section.add("[the agent changed nothing]")
        return section
    files = diffs.parse(data[: diffs.MAX_BYTES])
    if not files:
        section.add("[what the agent left is not a diff that can be read]")
        return section
    chosen = _choose(files, chars, mentions)
    left_out: list[tuple[str, int | None, str]] = []
    for index, file in enumerate(files):
        if file.binary:
            left_out.append((file.path, None, "binary"))
        elif index not in chosen:
            left_out.append((file.path, file.added + file.removed, "no room"))
        else:
            part = chosen[index]
            for text, where in part.lines:
                section.append(text, **where)
            if part.cut:
                left_out.append((file.path, part.cut, "the rest of this file has no room"))
    if len(data) > diffs.MAX_BYTES:
        left_out.append(("the rest of the diff", None, f"{len(data)} bytes in all"))
    for path, lines, reason in left_out[:MOST_NAMED]:
        _leave_out(section, path, lines, reason)
    if len(left_out) > MOST_NAMED:
        rest = left_out[MOST_NAMED:]
        _leave_out(section, f"{len(rest)} more files", sum(lines or 0 for _, lines, _ in rest), "no room to name them")
    return section


@dataclass(slots=True)
class _Part:
    """What is shown of one file: lines with their places, and how many of its lines are not among them."""

    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    chars: int = 0
    cut: int = 0

    def add(self, text: str, **where: Any) -> None:
        text = shown(text)
        self.lines.append((text, where))
        self.chars += len(text) + LABEL_CHARS


def _choose(files: Sequence[Any], chars: int, mentions: str) -> dict[int, _Part]:
    """Return what is shown of each file, by its place: named ones first, then short before long."""
    text = mentions.lower()

    def rank(index: int) -> tuple[bool, bool, int, int]:
        path = files[index].path.lower()
        base = path.rpartition("/")[2]
        named = bool(path) and (path in text or (len(base) > 3 and base in text))
        return not named, bool(GENERATED.search(path)), files[index].chars, index

    chosen: dict[int, _Part] = {}
    # The lines that name what is left out must always fit.
    left = chars - min(len(files), MOST_NAMED) * 60
    for index in sorted((i for i, file in enumerate(files) if not file.binary), key=rank)[:MOST_FILES]:
        file = files[index]
        whole = file.chars + file.rows * (LABEL_CHARS + 20) + 2 * len(file.path) + 60
        if whole > left and (left < LEAST_PART_CHARS or GENERATED.search(file.path)):
            continue
        chosen[index] = part = _part_of(file, left)
        left -= part.chars
    return chosen


def _part_of(file: Any, chars: int) -> _Part:
    """Return as much of a file as fits into `chars`, from its beginning."""
    part, rows = _Part(), 0
    name = file.path if file.old == file.new or not file.old else f"{file.old} -> {file.path}"
    part.add(f"=== {name} ({file.status}, +{file.added} -{file.removed})", path=file.path)
    for hunk in file.hunks:
        old, new = hunk.old_start, hunk.new_start
        part.add(f"@@ -{old} +{new} @@", path=file.path)
        for raw in hunk.lines:
            sign = raw[:1].decode("ascii", "replace") or " "
            if sign == "\\":
                continue
            side, number = ("old", old) if sign == "-" else ("new", new)
            text = raw.decode("utf-8", "replace").removesuffix("\r") or " "
            part.add(text, path=file.path, side=side, number=number)
            if part.chars > chars:
                part.lines.pop()
                part.cut = sum(len(hunk.lines) for hunk in file.hunks) - rows
                return part
            old += sign != "+"
            new += sign != "-"
            rows += 1
    return part


# ── tests and trajectory ──────────────────────────────────────────────────────────────────────────────────────


def _tests(material: Material, chars: int) -> Section:
    section = Section(name="tests")
    section.add(material.test_summary or "[no test was run]")
    # What did not pass comes first, then by name: the same order whatever the database does.
    rows = sorted(material.tests, key=lambda row: (row[2] == "passed", row[0], row[1]))
    for index, (group, test_id, verdict, message) in enumerate(rows):
        line = f"{verdict}: {test_id} ({group.replace('_', ' ')})" + (f": {message}" if message else "")
        if section.chars + min(len(line), LINE_CHARS) > chars:
            _leave_out(section, "more tests", len(rows) - index, "too many")
            break
        section.add(line)
    return section


def _trajectory(steps: Sequence[tuple[int, str, str, str, str]], chars: int) -> Section:
    section = Section(name="trajectory")
    if not steps:
        section.add("[no trajectory was recorded]")
    for index, (position, kind, name, text, result) in enumerate(steps):
        lines = [f"{position} {kind} {name}: {part}" for part in text.split("\n")[:20]]
        lines += [f"{position} result: {part}" for part in result.split("\n")[:10] if part]
        if section.chars + sum(min(len(line), LINE_CHARS) + 8 for line in lines) > chars:
            _leave_out(section, "later steps", len(steps) - index, "too long")
            break
        for line in lines:
            section.add(line, step=position)
    return section


def by_ref(found: Iterable[Section]) -> Mapping[str, tuple[Section, int]]:
    """Return where each reference stands: its section, and its place in it from 0."""
    return {line.ref: (section, place) for section in found for place, line in enumerate(section.lines)}
