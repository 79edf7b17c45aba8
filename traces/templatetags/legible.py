"""Writes out invisible characters where no markup can stand: in titles, attributes and cut texts."""

from django import template

from oneshot.visible import visible

register = template.Library()


@register.filter
def legible(value: object) -> str:
    """Return the text with invisible and direction-changing characters as their names, not yet escaped."""
    return visible(str(value))
