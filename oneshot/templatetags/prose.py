"""Markdown of a task or a board as HTML: no raw HTML, no pictures, no headings above the page's own, bounded."""

from functools import lru_cache

from django import template
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from oneshot.visible import visible, visible_html

register = template.Library()

MOST_CHARS = 100_000
# The page has h1 and h2; what a text calls its title is at most a section's part.
_HEADINGS = {"h1": "h3", "h2": "h4", "h3": "h5", "h4": "h6", "h5": "h6"}


def _safe_link(url: str) -> bool:
    return url.strip().lower().startswith(("https://", "http://", "mailto:"))


def _link_open(renderer: RendererHTML, tokens: list[Token], index: int, options: OptionsDict, env: EnvType) -> str:
    tokens[index].attrSet("rel", "nofollow noopener noreferrer")
    return renderer.renderToken(tokens, index, options, env)


@lru_cache(maxsize=1)
def _markdown() -> MarkdownIt:
    # "commonmark" keeps raw HTML, so html=False; a picture would be fetched from another host.
    reader = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}).enable("table").disable("image")
    reader.validateLink = _safe_link  # type: ignore[method-assign]
    reader.add_render_rule("link_open", _link_open)
    return reader


@register.filter
def prose(text: str) -> SafeString:
    """Return the text as HTML. What is beyond MOST_CHARS is left out, and the last line says so."""
    shown = visible(text[:MOST_CHARS].replace("\r\n", "\n"))
    reader = _markdown()
    tokens = reader.parse(shown)
    for token in tokens:
        token.tag = _HEADINGS.get(token.tag, token.tag)
        token.attrs.pop("style", None)  # a column's alignment; the policy allows no inline style
    body = reader.renderer.render(tokens, reader.options, {})
    if len(text) > MOST_CHARS:
        body += f"<p><b>{len(text) - MOST_CHARS:,} more characters are left out here.</b></p>"
    return mark_safe(body)  # noqa: S308 - markdown-it escapes everything, raw HTML is off


@register.filter
def shown(text: str) -> SafeString:
    """Return text as it is, escaped, with invisible characters written out."""
    return visible_html(text.replace("\r\n", "\n"))
