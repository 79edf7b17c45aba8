"""The administration's name and door, and what its pages of rows share."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode

admin.site.site_header = "OneShot administration"
admin.site.site_title = "OneShot administration"
admin.site.index_title = "Every row"
admin.site.site_url = "/"


def log_in(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    """Send to the one log-in that pauses after some refusals; whoever is no administrator finds nothing here."""
    target = request.GET.get("next", "")
    if not url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()}):
        target = reverse("admin:index")
    if not request.user.is_authenticated:
        return HttpResponseRedirect(f"{reverse('login')}?{urlencode({'next': target})}")
    if not admin.site.has_permission(request):
        raise Http404
    return HttpResponseRedirect(target)


admin.site.login = log_in  # type: ignore[method-assign]


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows that only the program writes: they can be looked at, searched and followed, not changed."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyInline(admin.TabularInline):
    """The same, inside of another row's page."""

    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
