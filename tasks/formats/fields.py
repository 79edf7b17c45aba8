"""Typed reading of JSON that somebody else wrote: a wrong type becomes a problem with its place, never an exception."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasks.formats.base import TaskDraft
from tasks.problems import shown

MAX_TEXT = 2_000_000
MAX_ITEMS = 10_000


class Fields:
    """One JSON object of a file. Faults go to the draft; what cannot be read counts as left out."""

    def __init__(self, draft: TaskDraft, file: str, data: dict[str, Any], at: str = "") -> None:
        self.draft = draft
        self.file = file
        self.data = data
        self.at = at

    def place(self, key: str) -> str:
        """Return the dotted path of a key within the file."""
        return f"{self.at}.{key}" if self.at else key

    def refuse(self, key: str, message: str) -> None:
        """Record a problem with the value under `key`."""
        self.draft.refuse(self.file, self.place(key), shown(self.data.get(key, "")), message)

    def note(self, key: str, message: str) -> None:
        """Record a note on the value under `key`."""
        self.draft.note(self.file, self.place(key), shown(self.data.get(key, "")), message)

    def text(self, *keys: str, most: int = MAX_TEXT) -> str:
        """Return the first of `keys` that is given and not null, as text; "" when none is."""
        key = next((key for key in keys if self.data.get(key) is not None), None)
        if key is None:
            return ""
        value = self.data[key]
        if not isinstance(value, str):
            self.refuse(key, 'It must be text, in "quotes".')
        elif len(value) > most:
            self.refuse(key, f"It has {len(value):,} characters; at most {most:,} can be kept. Shorten it.")
        elif fault := fault_of_text(value):
            self.refuse(key, fault)
        else:
            return value
        return ""

    def object(self, key: str) -> Fields:
        """Return the object under `key`; an empty one when it is not given or null."""
        value = self.data.get(key)
        if value is not None and not isinstance(value, dict):
            self.refuse(key, "It must be an object, {…}.")
        return Fields(self.draft, self.file, value if isinstance(value, dict) else {}, self.place(key))

    def items(self, key: str) -> list[Any]:
        """Return the list under `key`; [] when it is not given or null."""
        value = self.data.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.refuse(key, "It must be a list, […].")
        elif len(value) > MAX_ITEMS:
            self.refuse(key, f"It has {len(value):,} items; at most {MAX_ITEMS:,} can be read.")
        else:
            return value
        return []

    def texts(self, key: str) -> list[str]:
        """Return the list of texts under `key`."""
        found = []
        for position, value in enumerate(self.items(key)):
            place = f"{self.place(key)}[{position}]"
            if not isinstance(value, str) or fault_of_text(value):
                self.draft.refuse(self.file, place, shown(value), 'It must be text, in "quotes".')
            else:
                found.append(value)
        return found

    def objects(self, key: str) -> Iterator[Fields]:
        """Yield the objects of the list under `key`."""
        for position, value in enumerate(self.items(key)):
            place = f"{self.place(key)}[{position}]"
            if isinstance(value, dict):
                yield Fields(self.draft, self.file, value, place)
            else:
                self.draft.refuse(self.file, place, shown(value), "It must be an object, {…}.")


def fault_of_text(value: str) -> str:
    """Return what keeps this text from being stored, or ""."""
    if "\0" in value:
        return "It holds a NUL character. Take it out."
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"It holds half a character (a lone surrogate) at position {error.start}. Write the whole one."
    return ""
