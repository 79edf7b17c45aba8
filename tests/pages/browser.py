"""What tests in a real browser share: signing in, watching for what must not happen, opening many pages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from django.conf import settings
from django.test import Client
from playwright.sync_api import BrowserContext, Page, expect

from oneshot.accounts.models import User

WIDE = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}

# What a page must give to people who cannot see it; returns the elements that don't.
NAMELESS = """() => [...document.querySelectorAll(
    'a[href], button, input:not([type=hidden]), select, textarea, summary')]
  .filter((e) => e.checkVisibility() && !(e.textContent.trim() || e.getAttribute('aria-label') || e.title
    || e.labels?.length))
  .map((e) => e.outerHTML.slice(0, 200))"""


@dataclass
class Watch:
    """Collects what a page must never do: errors in the console, requests to another host, answers of 500."""

    host: str
    seen: list[str] = field(default_factory=list)

    def over(self, page: Page) -> Page:
        """Watch `page` from now on."""
        page.on("console", lambda m: self._note(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self._note(f"exception: {error}"))
        page.on("request", lambda r: self._note(f"elsewhere: {r.url}") if self._is_elsewhere(r.url) else None)
        page.on("response", lambda r: self._note(f"{r.status}: {r.url}") if r.status >= 500 else None)
        return page

    def _note(self, words: str) -> None:
        self.seen.append(words)

    def _is_elsewhere(self, url: str) -> bool:
        return urlsplit(url).scheme not in ("data", "blob") and urlsplit(url).netloc != self.host


def sign_in(context: BrowserContext, site: str, user: User) -> None:
    """Give the browser a session of `user`, without typing a password."""
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": client.cookies[name].value, "url": site}])


def faults_of(page: Page) -> list[str]:
    """Return what is wrong with how the open page is laid out and named."""
    faults = []
    over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if over > 0:
        faults.append(f"{over} px wider than the window")
    headings = page.locator("h1").count()
    if headings != 1:
        faults.append(f"{headings} h1")
    faults += [f"no name: {html}" for html in page.evaluate(NAMELESS)]
    return faults


def settle(page: Page) -> None:
    """Wait until no fragment is being asked for."""
    expect(page.locator(".htmx-request")).to_have_count(0)


def walk(page: Page, site: str, paths: Iterable[str]) -> dict[str, list[str]]:
    """Open each path, wait until its fragments have come, and return the faults by path."""
    found = {}
    for path in paths:
        page.goto(site + path)
        settle(page)
        if faults := faults_of(page):
            found[path] = faults
    return found
