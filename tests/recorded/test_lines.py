"""Reading files: packed or not, cut short, damaged, or something else altogether."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from runs.recorded import lines
from runs.recorded.lines import CannotRead, Line
from tests.recorded.traces import conversation

ROW = json.dumps(conversation()).encode()


def found(path: Path) -> list[Line]:
    return list(lines.lines(path))


def runs(path: Path) -> list[str]:
    return [line.trace.run_id if line.trace else f"{line.number}: {line.wrong}" for line in found(path)]


def row(run_id: str) -> bytes:
    return json.dumps(conversation(run_id)).encode()


@pytest.mark.parametrize("name", ["runs.jsonl", "runs.jsonl.gz", "runs"])
def test_a_packed_file_is_read_whatever_it_is_called(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(row("a") + b"\n" + row("b")))
    assert runs(path) == ["a", "b"]


@pytest.mark.parametrize("name", ["runs.jsonl", "runs.jsonl.gz"])
def test_a_plain_file_is_read_whatever_it_is_called(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"\xef\xbb\xbf" + row("a") + b"\r\n\r\n  \n" + row("b") + b"\n")
    assert runs(path) == ["a", "b"]


def test_bad_lines_are_told_by_their_number_and_spoil_no_other(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    rows = [row("a"), b"{", b"17", b'{"schema": "trace/9"}', b"\xff\xfe", b"", b"[" * 100_000, row("b")]
    path.write_bytes(b"\n".join(rows))
    given = runs(path)
    assert (given[0], given[-1]) == ("a", "b")
    assert [one.split(":")[0] for one in given[1:-1]] == ["2", "3", "4", "5", "7"]
    assert "not UTF-8" in given[4]


def test_a_packed_file_cut_short_gives_its_whole_lines_and_says_where_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl.gz"
    whole = gzip.compress(b"\n".join(row(f"run-{n}-{'x' * n}") for n in range(200)))
    path.write_bytes(whole[: len(whole) // 2])
    given = runs(path)
    assert len(given) > 20
    assert given[-1] == f"{len(given)}: " + given[-1].split(": ", 1)[1]
    assert "damaged" in given[-1]
    assert all(one.startswith("run-") for one in given[:-1])


def test_damage_in_the_middle_of_a_packed_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl.gz"
    whole = bytearray(gzip.compress(row("a") + b"\n" + row("b")))
    whole[-6] ^= 0xFF  # its checksum
    path.write_bytes(bytes(whole))
    assert "damaged" in runs(path)[-1]


def test_something_else_that_is_called_gz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl.gz"
    path.write_bytes(b"PK\x03\x04 a zip")
    with pytest.raises(CannotRead, match=r"is named \.gz and is not gzip"):
        found(path)


def test_a_file_that_is_not_there_and_a_folder_are_refused_in_a_sentence(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.jsonl", tmp_path):
        with pytest.raises(CannotRead) as refused:
            found(path)
        assert str(path) in str(refused.value)


def test_a_line_without_end_is_left_out_and_the_next_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "LONGEST_LINE", 5000)
    path = tmp_path / "runs.jsonl"
    path.write_bytes(b'{"x": "' + b"y" * 20_000 + b'"}\n' + row("b"))
    assert runs(path) == ["1: longer than 5,000 bytes.", "b"]


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl.gz"
    path.write_bytes(b"")
    assert found(path) == []
