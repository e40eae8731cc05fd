"""Addresses of runs and of workflows. Starting a run is a person's act and has its address there."""

from django.urls import path

from runs.views import pages
from runs.views import workflows as definitions

urlpatterns = [
    path("", pages.runs, name="runs"),
    path("list", pages.listed, name="runs-list"),
    path("<int:run_id>", pages.run, name="run"),
    path("<int:run_id>/moving", pages.moving, name="run-moving"),
    path("<int:run_id>/inspector", pages.inspector, name="run-inspector"),
    path("<int:run_id>/events", pages.events, name="run-events"),
    path("<int:run_id>/bodies/<str:digest>", pages.body, name="run-body"),
]

# A name may hold what paths are made of: the longer address comes first.
workflows = [
    path("", definitions.workflows, name="workflows"),
    path("list", definitions.listed, name="workflows-list"),
    path("<path:name>/v<int:version>/versions", definitions.versions, name="workflow-versions"),
    path("<path:name>/v<int:version>", definitions.workflow, name="workflow-version"),
    path("<path:name>/", definitions.workflow, name="workflow"),
]
