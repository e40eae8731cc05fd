"""The console's settings for the worker processes of the deploys' tests: those of the fault tests, and the deploys'."""

from tests.settings_faults import *  # noqa: F403
from tests.settings_faults import INSTALLED_APPS as _APPS

INSTALLED_APPS = [*_APPS, "tests.deploys"]
