"""The console's settings for the worker processes of the fault tests: the same, with the tests' own workflows."""

from django.urls import URLPattern

from opsconsole.settings import *  # noqa: F403
from opsconsole.settings import INSTALLED_APPS as _APPS

INSTALLED_APPS = [*_APPS, "tests.faults", "tests.faults.load"]

# Workers show no pages; Celery's checks at their start would import all of them.
ROOT_URLCONF = __name__
urlpatterns: list[URLPattern] = []
