"""Which app answers for which part of the address space. No views here."""

from importlib.util import find_spec

from django.urls import URLPattern, URLResolver, include, path

from opsconsole import health

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]
if find_spec("runs.urls"):
    urlpatterns.append(path("runs/", include("runs.urls")))
if find_spec("escalations.urls"):
    urlpatterns.append(path("", include("escalations.urls")))
