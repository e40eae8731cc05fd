"""The people's app: escalations, decisions, controls' acts, the journal."""

from django.apps import AppConfig


class EscalationsConfig(AppConfig):
    name = "escalations"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from escalations import receivers  # noqa: F401  (hears of the engine's questions)
