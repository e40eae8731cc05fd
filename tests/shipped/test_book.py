"""A book in its usual form: how its lines and sentences read. What holds for every book is tried in test_ledger."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from opsconsole.shipped.book import Book, BookDamaged, KeyReused

from .intake import OpenGate

WRITTEN_BEFORE = (
    '{"number":1,"key":"a","written_at":"2026-08-03T11:07:00.354109Z","content":{"what":"one"}}\n'
)


class Said(BaseModel):
    what: str


@pytest.fixture
def sayings(tmp_path: Path) -> Book[Said]:
    path = tmp_path / "sayings.jsonl"
    path.write_text(WRITTEN_BEFORE)
    return Book(path=path, contract=Said, name="The book of sayings")


def append(sayings: Book[Said], what: str, *, key: str) -> None:
    gate = OpenGate(key=key)
    sayings.append(Said(what=what), key=key, hand_over=gate.hand_over, refuse=lambda known: None)


def test_a_book_is_read_and_continued_in_its_form(sayings: Book[Said]) -> None:
    append(sayings, "two", key="b")
    first, second = sayings.entries()
    assert (first.content, second.content) == (Said(what="one"), Said(what="two"))
    written = second.written_at.isoformat().replace("+00:00", "Z")
    line = f'{{"number":2,"key":"b","written_at":"{written}","content":{{"what":"two"}}}}\n'
    assert sayings.path.read_text() == WRITTEN_BEFORE + line


def test_a_book_names_its_file_when_it_refuses(sayings: Book[Said]) -> None:
    with pytest.raises(KeyReused, match=r"^The key of entry 1 of sayings\.jsonl was used for another one\.$"):
        append(sayings, "two", key="a")
    sayings.path.write_text(f"{WRITTEN_BEFORE}[]\n")
    with pytest.raises(
        BookDamaged, match=r"^Line 2 of sayings\.jsonl is not an entry; nothing is entered until it is\.$"
    ):
        append(sayings, "two", key="b")
