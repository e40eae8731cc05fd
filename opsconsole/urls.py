"""Which app answers for which part of the address space. No views here."""

from django.urls import include, path

from opsconsole import health
from runs.urls import workflows
from runs.views import hooks

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("runs/", include("runs.urls")),
    path("workflows/", include(workflows)),
    path("hooks/<str:workflow>/<str:name>", hooks.receive, name="hook"),
    path("", include("escalations.urls")),
]
