"""Pages of people and teams."""

from django.urls import path

from oneshot.accounts import views, views_tokens

urlpatterns = [
    path("login/", views.LogIn.as_view(), name="login"),
    path("logout/", views.LogOut.as_view(), name="logout"),
    path("sign-up/", views.sign_up, name="sign-up"),
    path("password/", views.PasswordChange.as_view(), name="password-change"),
    path("account/", views.account, name="account"),
    path("account/tokens/", views_tokens.token_list, name="token-list"),
    path("account/tokens/<int:pk>/revoke/", views_tokens.token_revoke, name="token-revoke"),
    path("theme/", views.theme, name="theme"),
    path("teams/", views.team_list, name="team-list"),
    path("teams/<slug:slug>/", views.team_detail, name="team-detail"),
    path("teams/<slug:slug>/rename/", views.team_rename, name="team-rename"),
    path("teams/<slug:slug>/invite/", views.team_invite, name="team-invite"),
    path("teams/<slug:slug>/members/<int:pk>/role/", views.member_role, name="member-role"),
    path("teams/<slug:slug>/members/<int:pk>/remove/", views.member_remove, name="member-remove"),
]
