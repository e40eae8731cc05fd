"""The engine's app. Loading it finds every `workflows.py`."""

from django.apps import AppConfig


class RunsConfig(AppConfig):
    name = "runs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.conf import settings

        from runs import registry
        from runs.agents import providers, simulated  # noqa: F401  (simulated registers itself)
        from runs.checks import of_starts  # noqa: F401  (registers the system checks)
        from runs.recorded import family, provider  # noqa: F401  (both register themselves)

        providers.register(settings.MODEL_PROVIDERS)
        registry.discover()
