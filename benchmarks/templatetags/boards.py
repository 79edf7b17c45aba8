"""How boards write shares."""

from collections.abc import Iterable

from django import template
from django.utils.safestring import SafeString, mark_safe

from benchmarks.matrix import Square

register = template.Library()


@register.filter
def whole_percent(value: float) -> str:
    """Write a share between 0 and 1 as a whole percentage, without the sign.

    >>> whole_percent(0.6204), whole_percent(1), whole_percent(0.004)
    ('62', '100', '0')
    """
    return f"{value * 100:.0f}"


@register.simple_tag
def attempt_squares(squares: Iterable[Square]) -> SafeString:
    """Draw attempts as squares, each a link to its run.

    A page has hundreds; put together from fixed words and ids here, they cost a tenth of what a template takes.
    """
    links = (
        f'<a href="/runs/{square.run_id}/" title="{square.title}" aria-label="{square.title}">'
        f'<i class="{square.kind}"></i></a>'
        for square in squares
    )
    return mark_safe("".join(links))  # noqa: S308 - ids, numbers and our own words
