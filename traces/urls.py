"""Pages of sessions, under /sessions/."""

from django.urls import path

from traces.views import acting, exchanges, exporting, finding, listing, viewer

urlpatterns = [
    path("", listing.session_list, name="session-list"),
    path("filters/", listing.session_filters, name="session-filters"),
    path("<uuid:pk>/", viewer.session_detail, name="session-detail"),
    path("<uuid:pk>/viewer/", viewer.session_viewer, name="session-viewer"),
    path("<uuid:pk>/steps/", viewer.session_steps, name="session-steps"),
    path("<uuid:pk>/steps/<int:position>/", viewer.session_step, name="session-step"),
    path("<uuid:pk>/steps/<int:position>/<str:part>.txt", viewer.session_step_text, name="session-step-text"),
    path("<uuid:pk>/find/", finding.session_find, name="session-find"),
    path("<uuid:pk>/exchanges/", exchanges.exchange_list, name="session-exchanges"),
    path("<uuid:pk>/exchanges/<int:number>/", exchanges.exchange_detail, name="session-exchange"),
    path(
        "<uuid:pk>/exchanges/<int:number>/messages/<int:index>/",
        exchanges.exchange_message,
        name="session-exchange-message",
    ),
    path("<uuid:pk>/exchanges/<int:number>/<str:part>.txt", exchanges.exchange_text, name="session-exchange-text"),
    path("<uuid:pk>/export/<str:name>", exporting.session_export, name="session-export"),
    path("<uuid:pk>/delete/", acting.session_delete, name="session-delete"),
]
