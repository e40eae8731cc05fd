"""The Django app of the dependency review. Holds no models: what a run knows is kept by the engine."""

from django.apps import AppConfig


class DependencyReviewConfig(AppConfig):
    name = "opsconsole.shipped.dependency_review"
    label = "dependency_review"
    verbose_name = "Dependency review"
