"""People and teams in the administration."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group

from oneshot.accounts.models import FailedLogIn, Membership, Team, User
from oneshot.admin import ReadOnlyAdmin

# Teams say who may do what; the groups of Django would say it a second time.
admin.site.unregister(Group)


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
    fieldsets = [
        (None, {"fields": ["username", "password", "must_change_password"]}),
        ("Person", {"fields": ["first_name", "last_name", "email", "keyboard_shortcuts"]}),
        ("Rights", {"fields": ["is_active", "is_staff", "is_superuser"]}),
        ("Dates", {"fields": ["last_login", "date_joined"]}),
    ]


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
