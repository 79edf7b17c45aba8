"""What is wrong with something that was handed in, in words that let its author mend it."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Problem:
    """One fault. `file` is relative to the task's directory, `field` a dotted path or a line within it.

    `value` is what stands there, shortened; `message` says what is wrong and the mend. All but `message` may be "".
    """

    file: str
    field: str
    value: str
    message: str

    def as_dict(self) -> dict[str, str]:
        """Return it with the keys that `--json` promises."""
        return asdict(self)

    def __str__(self) -> str:
        place = ", ".join(part for part in (self.file, self.field) if part)
        subject = f"{place} is {self.value!r}: " if place and self.value else f"{place}: " if place else ""
        return subject + self.message


def shown(value: object, most: int = 120) -> str:
    """Return `value` as the short one-line text that a Problem carries; control characters become spaces."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(character if character.isprintable() else " " for character in text[: most + 1])
    return text if len(text) <= most else text[: most - 1] + "…"
