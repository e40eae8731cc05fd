"""The CSV export: all of what is filtered, safe in spreadsheets, and itself an intervention."""

from __future__ import annotations

import csv
import io
import json
import time
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from escalations import decisions
from escalations.audit import export
from escalations.audit.export import safe
from escalations.audit.filters import Filters, entries
from escalations.audit.record import Subject, append
from escalations.models import JournalEntry
from tests.factories import approval, journal, shown

SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20\u2212"
BREAKS = ["\n", "\r", "\r\n", "\v", "\f", "\x85", "\u2028", "\u2029", ";", "\t"]

FORMULAS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "\u00a0=1",
    "\u3000=1",
    "\u200b=1",
    "\ufeff=1",
    "\u202e=1",
    "\uff1dcmd",
    "\uff0bcmd",
    "\uff0dcmd",
    "\uff20cmd",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://example.invalid/?"&A1,"open")',
    "good\n=bad",
    "good\r\n =bad",
    "good\u2028@bad",
    "good;=bad",
    "good\t+bad",
    "\n\n\n-bad",
    "\x00=bad",
]
HARMLESS = [
    "",
    "E-12",
    "run 7",
    "a = b",
    "5 - 3",
    "mail@example.invalid",
    "line\nline",
    '{"a":-1}',
    "Grüße",
    "1-2",
]


def _cells_of(text: str) -> list[str]:
    """Every piece that some spreadsheet may take for a cell of its own or show as a line."""
    for mark in BREAKS:
        text = text.replace(mark, "\n")
    return text.split("\n")


def _begins_a_formula(cell: str) -> bool:
    blank = "\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\ufeff\u180e\u00ad"
    return cell.strip().strip(blank).strip()[:1] in tuple(SIGNS)


@pytest.mark.parametrize("cell", FORMULAS)
def test_a_cell_that_a_spreadsheet_would_run_is_made_text(cell: str) -> None:
    assert not any(_begins_a_formula(piece) for piece in _cells_of(safe(cell)))
    assert "\x00" not in safe(cell)


@pytest.mark.parametrize("cell", HARMLESS)
def test_a_harmless_cell_is_left_as_it_is(cell: str) -> None:
    assert safe(cell) == cell


@given(
    st.lists(st.sampled_from([*SIGNS, *BREAKS, " ", "\u00a0", "\u200b", "a", "'", '"', "\x00"]), max_size=12)
)
def test_no_mixture_of_signs_breaks_and_blanks_begins_a_formula(parts: list[str]) -> None:
    assert not any(_begins_a_formula(piece) for piece in _cells_of(safe("".join(parts))))


def test_an_endless_run_of_blanks_takes_no_endless_time() -> None:
    began = time.process_time()
    assert safe(" \t" * 50_000 + ";" + " " * 100_000 + "=1").endswith(" =1")
    assert time.process_time() - began < 30  # a hundredth of a second, as it is


def read(pieces: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(pieces.removeprefix("\ufeff"), newline="")))


@pytest.mark.django_db(transaction=True)
class TestExporting:
    def test_the_file_holds_what_is_filtered_and_the_journal_holds_the_export(
        self, operator: User, auditor: User
    ) -> None:
        escalation = approval()
        decisions.reject(actor=operator, **shown(escalation), reason='=HYPERLINK("x")\n@evil "quoted", ü')
        filters = Filters(act="reject")
        text = "".join(export.export(actor=auditor, filters=filters))
        (line,) = read(text)
        (entry,) = journal(act="reject")
        assert line["number"] == str(entry.seq)
        assert (line["person"], line["on"], line["outcome"]) == ("Marta Oliveira", escalation.name, "done")
        assert line["reason"] == '\'=HYPERLINK("x")\n\'@evil "quoted", ü'
        assert line["body"] == entry.body
        assert line["hash"] == entry.hash
        (own,) = journal(act="export")
        details = json.loads(own.body)["details"]
        assert (details["entries"], details["filters"]) == (1, {"act": "reject"})

    def test_the_columns_are_the_same_whatever_is_exported(self, auditor: User) -> None:
        text = "".join(export.export(actor=auditor, filters=Filters(text="nothing like it")))
        assert text == "\ufeff" + ",".join(f'"{name}"' for name in export.COLUMNS) + "\r\n"

    def test_the_same_export_gives_the_same_bytes(self, operator: User) -> None:
        approval()
        newest = journal()[-1].seq
        first, second = ("".join(export.rows(Filters(), up_to=newest)) for _ in range(2))
        assert first == second

    def test_what_is_appended_while_the_file_is_read_is_not_in_it(
        self, auditor: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(export, "CHUNK", 2)
        for _ in range(5):
            _entry()
        pieces = export.export(actor=auditor, filters=Filters())
        text = next(pieces) + next(pieces)
        _entry()
        text += "".join(pieces)
        assert [line["number"] for line in read(text)] == ["1", "2", "3", "4", "5"]

    def test_filters_narrow_by_everything_they_name(self, operator: User) -> None:
        escalation = approval()
        decisions.reject(actor=operator, **shown(escalation), reason="Wrong payee")
        now = timezone.now()
        rejected = journal(act="reject")[0].seq
        for filters in (
            Filters(person="Marta Oliveira"),
            Filters(text="wrong PAYEE"),
            Filters(act="reject", outcome="done", workflow="paying", team="Testers"),
            Filters(run_id=escalation.run_id, act="reject"),
            Filters(escalation_id=escalation.pk, since=now - timedelta(minutes=1), until=now, act="reject"),
        ):
            assert [entry.seq for entry in entries(filters)] == [rejected]
        assert not entries(Filters(since=now)).exists()
        assert {entry.escalation_id for entry in entries(Filters(text=escalation.name.lower()))} == {
            escalation.pk
        }
        assert entries(Filters(text="50%")).count() == 0

    def test_hostile_search_text_finds_nothing_and_breaks_nothing(self) -> None:
        _entry()
        for text in ("'; DROP TABLE x", "\x00", "\ud800", "%", "_" * 50, "9" * 30, "E-²"):
            assert entries(Filters(text=text)).count() == 0
        assert JournalEntry.objects.count() == 1


def _entry() -> None:
    with transaction.atomic():
        append(actor=None, act="test", subject=Subject(target="x"))
