"""The Django app of the invoice intake. Holds no models: what a run knows is kept by the engine."""

from django.apps import AppConfig


class InvoiceIntakeConfig(AppConfig):
    name = "opsconsole.shipped.invoice_intake"
    label = "invoice_intake"
    verbose_name = "Invoice intake"
