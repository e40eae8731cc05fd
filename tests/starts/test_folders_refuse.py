"""What is dropped into a watched folder and should not be: refused with a sentence, or left and said."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from runs.shown.triggers import triggers_of
from runs.starts_by import Folder
from tests.starts.conftest import NAME, Register, names, runs, trigger
from tests.starts.dropping import DROPPED, drop, look, why

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_wrong_input_is_refused_with_a_line_for_every_wrong_value(
    registered: Register, folder: Path
) -> None:
    registered(DROPPED)
    drop(folder, "bad.json", amount="many", colour="red")
    drop(folder, "good.json")
    assert look() == 1
    assert names(folder / "refused") == ["bad.json", "bad.json.why.txt"]
    lines = why(folder, "bad.json").splitlines()
    assert [line.partition(":")[0] for line in lines] == ["amount", "colour"]
    assert trigger().refused == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"text": ', "This is not JSON"),
        (b"", "This is not JSON"),
        (b"[1, 2]", "This is not a JSON object."),
        (b"\xff\xfe\x00", "This is not UTF-8 text."),
        (b'{"amount": NaN}', "input: Out of range float values are not JSON compliant"),
        (b"[" * 100_000, "This is not JSON"),
        (b"x" * 1_000_001, "order.json has 1000001 bytes; at most 1000000 are taken."),
    ],
)
def test_what_is_no_input_is_refused_and_says_so(
    content: bytes, says: str, registered: Register, folder: Path
) -> None:
    registered(DROPPED)
    (folder / "order.json").write_bytes(content)
    assert look() == 0
    assert why(folder).startswith(says)
    assert (names(folder), runs()) == ([], [])
    assert triggers_of(NAME)[0].last_error.startswith("Refused: ")


def test_a_link_is_refused_and_what_it_points_to_is_left_alone(
    registered: Register, folder: Path, tmp_path: Path
) -> None:
    registered(DROPPED)
    elsewhere = drop(tmp_path, "secret.json", text="not yours")
    (folder / "order.json").symlink_to(elsewhere)
    (folder / "broken.json").symlink_to(tmp_path / "nowhere")
    assert look() == 0
    assert why(folder) == "order.json is a link; only real files are taken.\n"
    assert (folder / "refused" / "order.json").is_symlink()
    assert elsewhere.exists()
    assert names(folder) == []


def test_a_named_pipe_does_not_make_anybody_wait(registered: Register, folder: Path) -> None:
    registered(DROPPED)
    os.mkfifo(folder / "order.json")
    assert look() == 0
    assert why(folder) == "order.json is not an ordinary file.\n"


def test_done_that_is_a_link_to_elsewhere_is_not_used(
    registered: Register, folder: Path, tmp_path: Path
) -> None:
    registered(DROPPED)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / "done").symlink_to(elsewhere)
    drop(folder)
    assert look() == 0
    assert "is no folder (a link does not count there)" in trigger().last_error
    assert (names(elsewhere), runs()) == ([], [])


def test_a_folder_inside_stays_and_is_said_and_the_files_beside_it_are_taken(
    registered: Register, folder: Path
) -> None:
    registered(Folder(name="dropped", pattern="*"))
    (folder / "many.json").mkdir()
    drop(folder / "many.json")
    drop(folder, "one.json")
    assert look() == 1
    assert trigger().last_error.startswith("many.json is a folder;")
    assert (folder / "many.json" / "order.json").exists()


@pytest.mark.parametrize(
    "file", [b"caf\xe9.json", b"a\nb.json", "a\u202eb.json".encode(), b"x" * 230 + b".json"]
)
def test_names_that_nobody_can_read_are_refused(file: bytes, registered: Register, folder: Path) -> None:
    registered(DROPPED)
    path = Path(os.fsdecode(os.path.join(os.fsencode(folder), file)))
    path.write_text("{}")
    assert look() == 0
    refused = [one for one in (folder / "refused").iterdir() if one.name.endswith(".why.txt")]
    assert "give it another" in refused[0].read_text()
    assert len(list((folder / "refused").iterdir())) == 2
    assert names(folder) == []


def test_a_readable_name_of_two_hundred_bytes_is_taken(registered: Register, folder: Path) -> None:
    registered(DROPPED)
    drop(folder, "ä" * 97 + "x.json")
    assert look() == 1
    assert len(runs()[0].start_key) <= 200


@pytest.fixture
def as_nobody(folder: Path) -> Iterator[None]:
    """The console may do everything when it is root: then it is somebody else for this test."""
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.parents[:4]):
        path.chmod(path.stat().st_mode | 0o011)
    os.chown(folder, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_may_not_be_read_stays_and_is_said(
    registered: Register, folder: Path, as_nobody: None
) -> None:
    registered(DROPPED)
    drop(folder, "a.json").chmod(0)
    drop(folder, "b.json")
    assert look() == 1
    assert trigger().last_error == "a.json cannot be opened: Permission denied."
    (folder / "a.json").chmod(0o600)
    assert look() == 1
    assert trigger().last_error == ""


def test_nothing_is_started_from_a_folder_that_cannot_be_written(
    registered: Register, folder: Path, as_nobody: None
) -> None:
    registered(DROPPED)
    drop(folder)
    folder.chmod(0o500)
    assert look() == 0
    assert "must be able to read and to write it" in trigger().last_error
    assert runs() == []
    folder.chmod(0o700)
    assert look() == 1


def test_a_missing_folder_is_said_until_it_is_there(registered: Register, folder: Path) -> None:
    registered(DROPPED)
    folder.rmdir()
    assert look() == 0
    assert "is not there: make it, or correct WATCHED_FOLDERS" in trigger().last_error
    folder.mkdir()
    assert look() == 0
    assert trigger().last_error == ""
