"""How numbers, times and sizes are written, everywhere the same; an unknown is the word, never 0."""

from django import template

register = template.Library()
