"""Durations in words such as 1h30m."""

import re


def parse_duration(text, *, default_s, called):
    """Return the seconds of `text`; `default_s` when it is empty. Raises ValueError naming what it is `called`."""
    if not text:
        return default_s
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if match is None:
        raise ValueError(f"{text!r} is not a {called} such as 1h30m.")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds
