"""Addresses of runs. Starting one is a person's act and has its address there."""

from django.urls import path

from runs.views import pages

urlpatterns = [
    path("", pages.runs, name="runs"),
    path("list", pages.listed, name="runs-list"),
    path("<int:run_id>", pages.run, name="run"),
    path("<int:run_id>/moving", pages.moving, name="run-moving"),
    path("<int:run_id>/inspector", pages.inspector, name="run-inspector"),
    path("<int:run_id>/events", pages.events, name="run-events"),
    path("<int:run_id>/bodies/<str:digest>", pages.body, name="run-body"),
]
