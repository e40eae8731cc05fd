"""The wiring's app: commands, and Celery's app for `shared_task` in every process."""

from django.apps import AppConfig


class OpsConsoleConfig(AppConfig):
    name = "opsconsole"

    def ready(self) -> None:
        from opsconsole import celery  # noqa: F401  (becomes the current Celery app)
