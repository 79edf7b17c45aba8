"""How boards write shares."""

from django import template

register = template.Library()


@register.filter
def whole_percent(value: float) -> str:
    """Write a share between 0 and 1 as a whole percentage, without the sign.

    >>> whole_percent(0.6204), whole_percent(1), whole_percent(0.004)
    ('62', '100', '0')
    """
    return f"{value * 100:.0f}"
