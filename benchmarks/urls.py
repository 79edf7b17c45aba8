"""Pages of boards; included at the root of the site."""

from django.urls import path

from benchmarks import views

urlpatterns = [
    path("leaderboard/", views.leaderboard, name="leaderboard"),
    path("leaderboard/live/", views.leaderboard_live, name="leaderboard-live"),
    path("boards/", views.board_list, name="board-list"),
    path("boards/new/", views.board_create, name="board-create"),
    path("boards/excerpt/", views.board_excerpt, name="board-excerpt"),
    path("boards/<slug:slug>/", views.board_detail, name="board-detail"),
    path("boards/<slug:slug>/live/", views.board_live, name="board-live"),
    path("boards/<slug:slug>/edit/", views.board_edit, name="board-edit"),
    path("boards/<slug:slug>/delete/", views.board_delete, name="board-delete"),
]
