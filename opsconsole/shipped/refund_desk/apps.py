"""The Django app of the refund desk. Holds no models: what a run knows is kept by the engine."""

from django.apps import AppConfig


class RefundDeskConfig(AppConfig):
    name = "opsconsole.shipped.refund_desk"
    label = "refund_desk"
    verbose_name = "Refund desk"
