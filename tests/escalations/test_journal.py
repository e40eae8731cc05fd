"""The journal: appended by one function only, gap-free under threads, and every tampering is found."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.db.models import ProtectedError

from escalations.audit import chain
from escalations.audit.record import Subject, append
from escalations.models import JournalEntry
from escalations.roles import System
from tests import patience
from tests.factories import at_once, journal

pytestmark = pytest.mark.django_db(transaction=True)


def write(number: int = 0, **more: Any) -> int:
    with transaction.atomic():
        return append(
            actor=System(name="test"),
            act="test",
            subject=Subject(target=f"thing {number}", run_id=number),
            **more,
        ).seq


@contextmanager
def triggers_off() -> Iterator[None]:
    """What the owner of the table can do."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE escalations_journalentry DISABLE TRIGGER USER")
        try:
            yield
        finally:
            cursor.execute("ALTER TABLE escalations_journalentry ENABLE TRIGGER USER")


def test_entries_are_numbered_from_one_and_linked() -> None:
    assert [write(n) for n in range(3)] == [1, 2, 3]
    first, second, third = journal()
    assert first.prev_hash == chain.GENESIS
    assert (second.prev_hash, third.prev_hash) == (first.hash, second.hash)
    assert chain.verify() is None


def test_the_hash_computed_here_equals_the_one_the_database_computed() -> None:
    write(1, reason="Grüße, “quoted”\nsecond line \u202e", details={"deep": {"list": [1, None, True, "ü"]}})
    (entry,) = journal()
    assert entry.hash == chain.entry_hash(chain.GENESIS, entry.seq, entry.at, entry.body)


def test_an_empty_journal_is_whole() -> None:
    assert chain.verify() is None
    assert chain.verify(1, 1) == 1


def test_appending_outside_a_transaction_is_refused() -> None:
    with pytest.raises(transaction.TransactionManagementError):
        append(actor=None, act="test", subject=Subject(target="x"))


def test_an_entry_goes_with_its_transaction() -> None:
    with transaction.atomic():
        append(actor=None, act="test", subject=Subject(target="x"))
        transaction.set_rollback(True)
    assert journal() == []
    assert write() == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE escalations_journalentry SET reason = 'nicer'",
        "UPDATE escalations_journalentry SET reason = 'nicer' WHERE false",
        "DELETE FROM escalations_journalentry",
        "TRUNCATE escalations_journalentry",
        "TRUNCATE escalations_journalentry CASCADE",
        "INSERT INTO escalations_journalentry SELECT * FROM escalations_journalentry"
        " ON CONFLICT (seq) DO UPDATE SET reason = 'nicer'",
    ],
)
def test_what_is_written_cannot_be_changed_or_removed(statement: str) -> None:
    write()
    before = journal()[0].body
    with pytest.raises(DatabaseError, match=r"append-only|does not continue"), connection.cursor() as cursor:
        cursor.execute(statement)
    assert [entry.body for entry in journal()] == [before]


def forged(**changed: Any) -> JournalEntry:
    """An entry that would be right, but for what is changed."""
    last = journal()[-1]
    entry = JournalEntry(
        seq=last.seq + 1,
        at=last.at,
        act="approve",
        outcome="done",
        actor_name="Marta Oliveira",
        target="E-1",
        body="{}",
        prev_hash=last.hash,
    )
    entry.hash = chain.entry_hash(entry.prev_hash, entry.seq, entry.at, entry.body)
    for name, value in changed.items():
        setattr(entry, name, value)
    return entry


@pytest.mark.parametrize(
    "changed",
    [
        {"seq": 0},
        {"seq": -5},
        {"seq": 7},
        {"prev_hash": "0" * 64},
        {"hash": "f" * 64},
        {"body": '{"act":"reject"}'},
    ],
)
def test_a_forged_entry_that_does_not_continue_the_chain_is_refused(changed: dict[str, Any]) -> None:
    write()
    with pytest.raises(DatabaseError, match="journal_append"):
        forged(**changed).save(force_insert=True)
    assert len(journal()) == 1


TAMPERINGS = {
    "a reason nicer than it was": "UPDATE escalations_journalentry SET reason = 'nicer' WHERE seq = 3",
    "another person": "UPDATE escalations_journalentry SET actor_name = 'somebody else' WHERE seq = 3",
    "another outcome": "UPDATE escalations_journalentry SET outcome = 'refused' WHERE seq = 3",
    "another run": "UPDATE escalations_journalentry SET run_id = 77 WHERE seq = 3",
    "another time": "UPDATE escalations_journalentry SET at = at + interval '1 microsecond' WHERE seq = 3",
    "another body": "UPDATE escalations_journalentry SET body = replace(body, 'thing', 'thong') WHERE seq = 3",
    "no JSON": "UPDATE escalations_journalentry SET body = 'x' WHERE seq = 3",
    "a removed entry": "DELETE FROM escalations_journalentry WHERE seq = 3",
    "another hash": "UPDATE escalations_journalentry SET hash = repeat('a', 64) WHERE seq = 3",
    "another link": "UPDATE escalations_journalentry SET prev_hash = repeat('a', 64) WHERE seq = 3",
    "body and hash made to fit": (
        "UPDATE escalations_journalentry SET body = '{}', hash = journal_hash(prev_hash, seq, at, '{}') WHERE seq = 3"
    ),
    "columns and body and hash made to fit": (
        "UPDATE escalations_journalentry SET reason = 'nicer',"
        ' body = replace(body, \'"reason":""\', \'"reason":"nicer"\'),'
        ' hash = journal_hash(prev_hash, seq, at, replace(body, \'"reason":""\', \'"reason":"nicer"\'))'
        " WHERE seq = 3"
    ),
}
# Only the last one is a whole entry in itself: the next entry's link gives it away.
FOUND_AT = {"columns and body and hash made to fit": 4}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_tampering_is_found_at_the_entry_it_touched(tampering: str) -> None:
    for number in range(5):
        write(number)
    with triggers_off(), connection.cursor() as cursor:
        cursor.execute(TAMPERINGS[tampering])
        assert cursor.rowcount == 1
    wrong = FOUND_AT.get(tampering, 3)
    assert chain.verify() == wrong
    assert chain.verify(wrong) == wrong
    assert chain.verify(1, 2) is None


def test_a_range_is_checked_from_the_entry_before_it() -> None:
    for number in range(5):
        write(number)
    assert chain.verify(3) is None
    assert chain.verify(3, 4) is None
    assert chain.verify(3, 9) == 6
    assert chain.verify(9) == 8


def test_numbers_are_gap_free_and_in_commit_order_under_sixteen_threads_with_random_aborts() -> None:
    committed: list[int] = []
    lock = threading.Lock()

    def many(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(15):
            try:
                with transaction.atomic():
                    seq = append(actor=None, act="test", subject=Subject(target=str(seed))).seq
                    if chance.random() < 0.3:
                        raise RuntimeError("changed my mind")
            except RuntimeError:
                continue
            with lock:
                committed.append(seq)

    results = at_once(*(lambda seed=seed: many(seed) for seed in range(16)))
    assert [one for one in results if one is not None] == []
    assert sorted(committed) == list(range(1, len(committed) + 1))
    assert len(journal()) == len(committed) > 100
    assert chain.verify() is None


def test_a_reader_never_sees_a_number_before_a_smaller_one() -> None:
    """A cursor that has seen N may forget everything up to N."""
    stop = threading.Event()
    skipped: list[tuple[int, int]] = []

    def read() -> None:
        last = 0
        while not stop.is_set():
            for seq in (
                JournalEntry.objects.filter(seq__gt=last).order_by("seq").values_list("seq", flat=True)
            ):
                if seq != last + 1:
                    skipped.append((last, seq))
                last = seq
        connection.close()

    reader = threading.Thread(target=read)
    reader.start()
    at_once(*(lambda: [write(n) for n in range(20)] for _ in range(8)))
    stop.set()
    patience.joined(reader)
    assert skipped == []
    assert len(journal()) == 160


def test_a_person_in_the_journal_cannot_be_deleted(operator: User) -> None:
    with transaction.atomic():
        append(actor=operator, act="test", subject=Subject(target="x"))
    with pytest.raises(ProtectedError):
        operator.delete()
