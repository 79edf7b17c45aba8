"""Alarms and their delays."""

import re

DEFAULT_S = 0


def parse_delay(text):
    """Return the seconds of a duration such as 1h30m; the default for an empty one."""
    if not text:
        return DEFAULT_S
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if match is None:
        raise ValueError(f"{text!r} is not a delay such as 1h30m.")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds
