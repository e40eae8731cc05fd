from django.apps import AppConfig


class LoadConfig(AppConfig):
    name = "tests.faults.load"
    label = "fault_load"
