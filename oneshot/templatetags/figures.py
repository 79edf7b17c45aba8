"""How numbers, times and marks are written, everywhere the same; an unknown is the word, never 0.

Built into every template: nothing needs loading. Each filter takes None and writes *unknown* for it.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

register = template.Library()

UNKNOWN = mark_safe('<span class="unknown">unknown</span>')
MINUS = "\N{MINUS SIGN}"

# A run's status, and once it is finished its outcome: (class of the mark, icon, word).
STATUS_MARKS = {
    "queued": ("", "queued", "Queued"),
    "preparing": ("live", "preparing", "Preparing"),
    "running": ("live", "running", "Running"),
    "collecting": ("live", "collecting", "Collecting"),
    "grading": ("live", "grading", "Grading"),
    "judging": ("live", "judging", "Judging"),
    "finished": ("", "check", "Finished"),
    "cancelled": ("", "cancelled", "Cancelled"),
    "infra_failed": ("warn", "infra", "Ungraded"),
}
OUTCOME_MARKS = {
    "resolved": ("ok", "ok", "Resolved"),
    "unresolved": ("bad", "no", "Unresolved"),
    "empty_patch": ("bad", "empty", "Empty patch"),
    "patch_failed": ("bad", "patch", "Patch failed"),
    "timeout": ("bad", "timeout", "Timed out"),
    "budget_exhausted": ("bad", "budget", "Budget exhausted"),
    "refused": ("bad", "refused", "Refused"),
}
PHASES = ("preparing", "running", "collecting", "grading")


@register.filter
def seconds(value: float | None) -> str:
    """Write a duration given in seconds.

    >>> seconds(0.42), seconds(3.0), seconds(38.4), seconds(368), seconds(3900)
    ('0.4 s', '3 s', '38 s', '6 m 08 s', '1 h 05 m')
    >>> seconds(0.004), seconds(59.7), seconds(0)
    ('0.004 s', '1 m 00 s', '0 s')
    """
    if value is None:
        return UNKNOWN
    if 0 < value < 0.05:
        return f"{float(f'{value:.1g}'):g} s" if value >= 0.001 else "under 0.001 s"
    if value < 9.95:
        return f"{value:.1f}".removesuffix(".0") + " s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    minutes = round(whole / 60)
    return f"{minutes // 60} h {minutes % 60:02d} m"


@register.filter
def limit_time(value: float | None) -> str:
    """Write a limit given in seconds in its own unit.

    >>> limit_time(45), limit_time(90), limit_time(1800), limit_time(7200), limit_time(5400)
    ('45 s', '90 s', '30 min', '2 h', '90 min')
    """
    if value is None:
        return UNKNOWN
    if value >= 3600 and value % 3600 == 0:
        return f"{value / 3600:g} h"
    return f"{value / 60:g} min" if value >= 120 and value % 60 == 0 else f"{value:g} s"


@register.filter
def usd(value: Decimal | float | None) -> str:
    """Write an amount of US dollars: two places, four under a cent.

    >>> usd(Decimal("0.74")), usd(0.0042), usd(0), usd(1234.5)
    ('$0.74', '$0.0042', '$0.00', '$1,234.50')
    """
    if value is None:
        return UNKNOWN
    return f"${value:,.4f}" if 0 < value < Decimal("0.01") else f"${value:,.2f}"


@register.filter
def tokens(value: float | None) -> str:
    """Write a number of tokens short, with the exact number as its title.

    >>> str(tokens(421_713))
    '<span title="421,713 tokens">422k</span>'
    >>> short_count(812), short_count(4_230), short_count(1_200_000), short_count(999_600)
    ('812', '4.2k', '1.2M', '1.0M')
    """
    if value is None:
        return UNKNOWN
    return format_html('<span title="{} tokens">{}</span>', f"{round(value):,}", short_count(value))


def short_count(value: float) -> str:
    """Return a count in at most four characters: 812, 4.2k, 422k, 1.2M."""
    if value < 999.5:
        return f"{value:.0f}"
    divisor, unit = next((d, u) for d, u in ((1e3, "k"), (1e6, "M"), (1e9, "G")) if value < d * 999.5 or u == "G")
    short = value / divisor
    return f"{short:.0f}{unit}" if short >= 9.95 else f"{short:.1f}{unit}"


@register.filter
def size(value: float | None) -> str:
    """Write a number of bytes, in powers of 1000.

    >>> size(612), size(4_200), size(61_000_000), size(1_400_000_000), size(0)
    ('612 B', '4.2 KB', '61 MB', '1.4 GB', '0 B')
    """
    if value is None:
        return UNKNOWN
    short, units = float(value), ["B", "KB", "MB", "GB", "TB"]
    while short >= 999.5 and len(units) > 1:
        short /= 1000
        units.pop(0)
    return f"{short:.1f} {units[0]}" if units[0] != "B" and short < 9.95 else f"{short:.0f} {units[0]}"


@register.filter
def percent(value: float | None) -> str:
    """Write a share between 0 and 1 as a percentage with one place, without the sign.

    >>> percent(0.7333), percent(1), percent(0)
    ('73.3', '100.0', '0.0')
    """
    return UNKNOWN if value is None else f"{value * 100:.1f}"


@register.filter
def signed(value: float | None, places: int | None = None) -> str:
    """Write a difference with its sign; whole numbers stay whole, others get one place unless `places` says more.

    >>> signed(24.94), signed(-0.7), signed(0.0), signed(-3), signed(0.04), signed(-0.125, 2)
    ('+24.9', '−0.7', '0.0', '−3', '0.0', '−0.12')
    """  # noqa: RUF002
    if value is None:
        return UNKNOWN
    if places is None:
        places = 0 if isinstance(value, int) else 1
    digits = f"{abs(value):,.{places}f}"
    if not digits.strip("0.,"):
        return digits
    return f"{MINUS if value < 0 else '+'}{digits}"


@register.filter
def count(value: int | None) -> str:
    """Write a whole number with separators.

    >>> count(12), count(1234567)
    ('12', '1,234,567')
    """
    return UNKNOWN if value is None else f"{value:,}"


@register.filter
def plain(value: Decimal | None) -> str:
    """Write a decimal number without the zeros that its column adds.

    >>> plain(Decimal("0.5000")), plain(Decimal("10")), plain(Decimal("0"))
    ('0.5', '10', '0')
    """
    return UNKNOWN if value is None else f"{value.normalize():f}"


@register.filter
def short_digest(value: str) -> str:
    """Write the beginning and end of a digest.

    >>> short_digest("51c0" + "0" * 56 + "e7d2"), short_digest("")
    ('51c0…e7d2', '')
    """
    return value if len(value) <= 12 else f"{value[:4]}…{value[-4:]}"


@register.simple_tag
def icon(name: str, classes: str = "") -> SafeString:
    """Draw a symbol of templates/partials/_icons.html; it is decoration, a word stands beside it."""
    return format_html('<svg class="{}" aria-hidden="true"><use href="#i-{}"/></svg>', f"i {classes}".strip(), name)


@register.simple_tag
def mark(tone: str, icon_name: str, words: Any, classes: str = "") -> SafeString:
    """Draw a status: an icon beside words. `tone` is ok, bad, warn, live or empty."""
    names = " ".join(part for part in ("st", tone, classes) if part)
    return format_html('<span class="{}">{}{}</span>', names, icon(icon_name), words)


@register.simple_tag
def run_status(run: Any, classes: str = "") -> SafeString:
    """Draw where a run stands: its outcome once it is finished, its status before."""
    tone, icon_name, word = OUTCOME_MARKS.get(run.outcome) or STATUS_MARKS[run.status]
    return mark(tone, icon_name, word, classes)


@register.simple_tag
def outcome_mark(outcome: str, classes: str = "") -> SafeString:
    """Draw an outcome or a status by its name, where there is no run at hand."""
    tone, icon_name, word = OUTCOME_MARKS.get(outcome) or STATUS_MARKS[outcome]
    return mark(tone, icon_name, word, classes)


@register.simple_tag
def mini_phases(run: Any) -> SafeString:
    """Draw the phases of a run as a row of small bars: done, going on now, to come."""
    at = PHASES.index(run.status) if run.status in PHASES else -1
    steps = [("done" if step < at else "now breathe" if step == at else "",) for step in range(len(PHASES))]
    return format_html(
        '<span class="mini" aria-hidden="true">{}</span>', format_html_join("", '<i class="{}"></i>', steps)
    )


@register.simple_tag
def ago(moment: datetime | None) -> SafeString:
    """Write how long ago something was, up to a week, then its date; the title gives UTC."""
    if moment is None:
        return UNKNOWN
    return _time(moment, "ago", relative(moment, timezone.now()))


@register.simple_tag
def clock(moment: datetime | None) -> SafeString:
    """Write the time of day; the reader's zone comes from oneshot.js, the title gives UTC."""
    return UNKNOWN if moment is None else _time(moment, "clock", f"{moment:%H:%M:%S}")


@register.simple_tag
def moment(value: datetime | None) -> SafeString:
    """Write date and time; the reader's zone comes from oneshot.js, the title gives UTC."""
    return UNKNOWN if value is None else _time(value, "moment", f"{value.day} {value:%b %Y, %H:%M}")


def _time(moment: datetime, form: str, words: str) -> SafeString:
    moment = moment.astimezone(timezone.get_default_timezone())
    return format_html(
        '<time datetime="{}" data-time="{}" title="{} UTC">{}</time>',
        moment.isoformat(timespec="milliseconds"),
        form,
        f"{moment:%Y-%m-%d %H:%M:%S}",
        words,
    )


def relative(moment: datetime, now: datetime) -> str:
    """Return a time in words, relative to `now` up to a week and a date beyond that."""
    passed = now - moment
    if passed < timedelta(minutes=1):
        return "just now" if passed > timedelta(minutes=-1) else f"{moment.day} {moment:%b, %H:%M}"
    if passed < timedelta(hours=1):
        return f"{passed.seconds // 60} min ago"
    if passed < timedelta(days=1):
        return f"{passed.seconds // 3600} h ago"
    if passed < timedelta(days=2):
        return "yesterday"
    if passed < timedelta(days=7):
        return f"{passed.days} days ago"
    return f"{moment.day} {moment:%b}" if moment.year == now.year else f"{moment.day} {moment:%b %Y}"


@register.inclusion_tag("partials/_interval.html")
def interval(value: float | None, low: float | None, high: float | None, classes: str = "") -> dict[str, Any]:
    """Draw a rate between 0 and 1 with its interval in a `td.ivc`; without an interval there is no line."""
    return {"value": value, "low": low, "high": high, "classes": classes}


@register.inclusion_tag("partials/_axis.html")
def interval_axis(slim: bool = False) -> dict[str, Any]:
    """Draw the scale from 0 to 100 % that stands in the header of a column of intervals."""
    return {"marks": (0, 50) if slim else (0, 25, 50, 75)}


@register.filter
def along(value: float) -> str:
    """Return a share as the SVG coordinate of that place, kept inside the drawing.

    >>> along(0.7333), along(-0.2), along(1.5)
    ('73.3%', '0.0%', '100.0%')
    """
    return f"{min(max(value, 0.0), 1.0) * 100:.1f}%"


# Where a task stands, and what its validation found: (class of the mark, icon, word).
TASK_MARKS = {
    "captured": ("", "queued", "Captured"),
    "draft": ("", "edit", "Draft"),
    "review": ("live", "running", "In review"),
    "published": ("", "check", "Published"),
    "retired": ("", "cancelled", "Retired"),
}
VALIDATION_MARKS = {
    "running": ("live", "grading", "Validating"),
    "valid": ("ok", "ok", "Valid"),
    "invalid": ("warn", "infra", "Not valid"),
}


@register.simple_tag
def task_state(state: str) -> SafeString:
    """Draw where a task stands on its way to being published."""
    return mark(*TASK_MARKS[state])


@register.simple_tag
def validation_mark(validation: str) -> SafeString:
    """Draw what a validation found; a version that has none gets words without a mark."""
    if validation not in VALIDATION_MARKS:
        return mark_safe('<span class="unknown">not validated</span>')
    return mark(*VALIDATION_MARKS[validation])


@register.simple_tag
def since(start: datetime | None) -> SafeString:
    """Write for how long something has been going on; oneshot.js counts on."""
    if start is None:
        return UNKNOWN
    passed = max(0.0, (timezone.now() - start).total_seconds())
    return format_html(
        '<span data-since="{}">{}</span>', start.isoformat(timespec="milliseconds"), seconds(float(int(passed)))
    )


@register.simple_tag
def tests_passed(run: Any) -> SafeString:
    """Write how many of the tests that count passed; a dash for a run that was never graded by tests."""
    counts = (
        run.fail_to_pass_passed,
        run.pass_to_pass_passed,
        run.fail_to_pass_failed,
        run.pass_to_pass_failed,
    )
    if all(number is None for number in counts):
        return mark_safe('<span class="dim">\N{EN DASH}</span>')
    fixed, kept, unfixed, broken = (number or 0 for number in counts)
    passed = fixed + kept
    return format_html("{} of {}", f"{passed:,}", f"{passed + unfixed + broken:,}")
