"""What every page's template may use."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

import oneshot


def page(request: HttpRequest) -> dict[str, Any]:
    """Return the version, the chosen theme ("auto", "light" or "dark") and whether people may sign up."""
    theme = request.COOKIES.get("theme", "auto")
    return {
        "oneshot_version": oneshot.__version__,
        "theme": theme if theme in ("light", "dark") else "auto",
        "sign_up": settings.SIGN_UP,
    }
