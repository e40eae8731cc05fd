"""Brings tables, static files and the demo up to date. Safe to repeat; starts nothing that stays."""

from typing import Any

from django.core.management import call_command, get_commands
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Migrates, collects the static files and seeds the demo: what a start needs, safe to repeat."

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", interactive=False, verbosity=1)
        call_command("collectstatic", interactive=False, verbosity=0)
        if "seed_demo" in get_commands():
            call_command("seed_demo")
