"""Workflows that come with the console. Each is a Django app and may be left out of INSTALLED_APPS."""
