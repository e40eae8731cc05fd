"""Brings tables, static files and the demo up to date. Safe to repeat; starts nothing that stays."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command, get_commands
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Migrates, collects the static files and seeds the demo: what a start needs, safe to repeat."

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=1)
        call_command("collectstatic", interactive=False, verbosity=0)
        for folder in settings.WATCHED_FOLDERS.values():
            _make_if_ours(folder)
        if "seed_demo" in get_commands():
            call_command("seed_demo")


def _make_if_ours(folder: Path) -> None:
    """Watched folders among the console's own data are made; others are their owners' business."""
    if folder.is_relative_to(settings.DATA_DIR):
        folder.mkdir(parents=True, exist_ok=True)
