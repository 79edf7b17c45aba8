"""People and teams in the administration."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminPasswordChangeForm
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest

from oneshot.accounts import tokens
from oneshot.accounts.models import ApiToken, FailedLogIn, Membership, Team, User
from oneshot.admin import ReadOnlyAdmin

# Teams say who may do what; the groups of Django would say it a second time.
admin.site.unregister(Group)


class FirstPasswordForm(AdminPasswordChangeForm):
    """A password that an administrator chose is good for one log-in."""

    def save(self, commit: bool = True) -> User:
        self.user.must_change_password = True
        return super().save(commit)


class MembershipInline(admin.TabularInline):
    model = Membership
    extra = 0
    raw_id_fields = ["user"]


@admin.register(User)
class PersonAdmin(UserAdmin):
    list_display = ["username", "first_name", "last_name", "is_superuser", "is_active", "last_login"]
    list_filter = ["is_superuser", "is_staff", "is_active", "must_change_password"]
    readonly_fields = ["last_login", "date_joined"]
    filter_horizontal = []
    change_password_form = FirstPasswordForm
    fieldsets = [
        (None, {"fields": ["username", "password", "must_change_password"]}),
        ("Person", {"fields": ["first_name", "last_name", "email", "keyboard_shortcuts"]}),
        ("Rights", {"fields": ["is_active", "is_staff", "is_superuser"]}),
        ("Dates", {"fields": ["last_login", "date_joined"]}),
    ]

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        if not change:
            obj.must_change_password = True
        super().save_model(request, obj, form, change)


@admin.register(Team)
class TeamAdmin(admin.ModelAdmin):
    list_display = ["name", "slug", "is_demo", "created_at"]
    list_filter = ["is_demo"]
    search_fields = ["name", "slug"]
    readonly_fields = ["id", "created_at"]
    prepopulated_fields = {"slug": ["name"]}
    inlines = [MembershipInline]


@admin.register(FailedLogIn)
class FailedLogInAdmin(ReadOnlyAdmin):
    """Deleting the rows of a name ends its pause."""

    list_display = ["username", "address", "at"]
    search_fields = ["username", "address"]
    ordering = ["-at"]


@admin.register(ApiToken)
class ApiTokenAdmin(ReadOnlyAdmin):
    """A revoked token stays here, so that one can see who had it."""

    list_display = ["name", "user", "prefix", "scope", "created_at", "expires_at", "last_used_at", "revoked_at"]
    list_filter = ["scope"]
    list_select_related = ["user"]
    search_fields = ["name", "prefix", "user__username"]
    actions = ["revoke"]

    @admin.action(description="Revoke the chosen tokens")
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        for token in queryset:
            tokens.revoke(token)
        self.message_user(request, "Revoked. Whatever used them is refused from now on.")
