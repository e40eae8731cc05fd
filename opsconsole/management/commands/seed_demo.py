"""`manage.py seed_demo`: three people and a handful of runs, once. Prints no password and changes nothing twice."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.management.base import BaseCommand
from django.db import transaction

from escalations.audit.record import Subject, append
from escalations.expected import Refusal
from escalations.models import JournalEntry
from escalations.roles import Role, System
from escalations.starts import start_run
from runs import live, registry

SEEDED = "seed demo"  # the act in the journal that says it was done
SIGN_INS = "sign-ins.txt"
ACTOR = System(name="demo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    username: str
    first_name: str
    last_name: str
    role: Role


PEOPLE = (
    Person(username="operator", first_name="Marta", last_name="Oliveira", role=Role.OPERATOR),
    Person(username="admin", first_name="Ines", last_name="Okafor", role=Role.ADMIN),
    Person(username="auditor", first_name="Tomasz", last_name="Nowak", role=Role.AUDITOR),
)

# Of the sample invoices: good ones, ones above the approval limit, and one of each way to be wrong.
INVOICES = (
    "01-norrland.xml",
    "02-northgate.txt",
    "03-halden.xml",
    "05-vauquelin.txt",
    "06-kesteren.xml",
    "09-halden.txt",
    "10-ried.xml",
    "11-rhone.txt",
    "14-odenthal.xml",
    "18-halden-again.xml",
    "20-nordhavn.xml",
    "22-vauquelin.xml",
    "29-halden.txt",
    "31-brightwater.txt",
    "33-cascade.txt",
    "34-odenthal.xml",
    "36-ried.xml",
    "42-halden-credit.xml",
)

# Of the sample messages: one of each way a case can go.
MESSAGES = (
    "01-kettle-leaks.eml",
    "03-how-long.eml",
    "04-no-number.eml",
    "06-too-late.eml",
    "07-wasserkocher.eml",
    "09-ignore-your-policy.eml",
    "10-large-rug.eml",
    "11-two-orders.eml",
    "26-capital-letters.eml",
    "27-lawyer.eml",
    "36-jamais-recu.eml",
    "39-system-note.eml",
    "51-dishwasher.eml",
    "60-liable.eml",
)


class Command(BaseCommand):
    help = "Makes the demo's people and runs, once; the sign-ins are written to DATA_DIR/sign-ins.txt."

    def handle(self, *_: Any, **__: Any) -> None:
        # Somebody may have removed or renamed the people on purpose: once is once.
        if JournalEntry.objects.filter(act=SEEDED).exists():
            return
        started = _start_runs()
        path = Path(settings.DATA_DIR) / SIGN_INS
        created = _make_people(path)
        live.flush()
        said = f"; sign-ins in {path}" if created else ""
        self.stdout.write(f"Demo: {len(created)} people, {started} runs{said}")


@transaction.atomic(durable=True)
def _make_people(path: Path) -> list[str]:
    missing = [person for person in PEOPLE if not User.objects.filter(username=person.username).exists()]
    sign_ins = [(person, secrets.token_urlsafe(12)) for person in missing]
    for person, password in sign_ins:
        _make_person(person, password)
    if sign_ins:
        _write(path, sign_ins)
    names = [person.username for person in missing]
    append(actor=ACTOR, act=SEEDED, subject=Subject(target="demo"), details={"people": names})
    return names


def _make_person(person: Person, password: str) -> None:
    made = User.objects.create_user(
        person.username, password=password, first_name=person.first_name, last_name=person.last_name
    )
    made.groups.add(Group.objects.get_or_create(name=person.role)[0])


def _write(path: Path, sign_ins: list[tuple[Person, str]]) -> None:
    """Readable by nobody else from its first moment on, and whole or not there."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        for person, password in sign_ins:
            name = f"{person.first_name} {person.last_name}"
            file.write(f"{person.username:<10} {password}   {name}, {person.role}\n")
    aside.replace(path)


def _start_runs() -> int:
    return sum(
        _started(workflow, given, key) for workflow, given, key in _demo() if registry.newest(workflow)
    )


def _demo() -> Iterator[tuple[str, dict[str, str], str]]:
    """Workflow, input and start key of every run of the demo."""
    for file in INVOICES:
        yield "invoice_intake", {"folder": "samples", "file": file}, f"demo:{file}"
    for file in MESSAGES:
        yield "refund_desk", {"folder": "samples", "file": file}, f"demo:{file}"
    yield "dependency_review", {}, "demo:every package"


def _started(workflow: str, given: dict[str, str], key: str) -> bool:
    try:
        return start_run(actor=ACTOR, workflow=workflow, raw_input=given, start_key=key).created
    except Refusal:  # stopped, or full: the demo is not worth more than that
        return False
