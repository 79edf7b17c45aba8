"""App of people: users, teams and memberships."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "oneshot.accounts"
    label = "accounts"
