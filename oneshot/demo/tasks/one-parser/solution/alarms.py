"""Alarms and their delays."""

from durations import parse_duration

DEFAULT_S = 0


def parse_delay(text):
    """Return the seconds of a duration such as 1h30m; the default for an empty one."""
    return parse_duration(text, default_s=DEFAULT_S, called="delay")
