"""Reads one file of a folder that is allowed, and says whether it is UBL or plain text; keeps what was dropped.

Follows no link, leaves no folder, parses nothing. What it refuses is a `DocumentRefused` whose text is the
sentence the operator reads.
"""

import hashlib
import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from django.conf import settings

from opsconsole.shipped.folders import content as content_of
from opsconsole.shipped.folders import content_in
from opsconsole.shipped.invoice_intake.contracts import Document, Folder
from runs.errors import DataError

SAMPLES = Path(__file__).parent / "samples"

_CONTROLS = re.compile("[\x00-\x08\x0b\x0e-\x1f]")


class DocumentRefused(DataError):
    """The file cannot be taken in; the text says which and why."""


def folders() -> dict[str, Path]:
    """The folders a run may name. The setting INVOICE_FOLDERS (name -> path) moves them."""
    standard = {"samples": SAMPLES / "invoices", "inbox": Path(settings.DATA_DIR) / "invoices"}
    return standard | {name: Path(path) for name, path in getattr(settings, "INVOICE_FOLDERS", {}).items()}


def read(folder: Folder, file: str, *, allowed: Mapping[str, Path]) -> Document:
    """Read `file` of `folder`: at most 1,000,000 bytes of text. Raises DocumentRefused."""
    content = content_in(folder, file, allowed=allowed, refused=DocumentRefused, what="an invoice")
    _must_say_something(content, file)
    text = _text(content, file)
    return Document(
        folder=folder,
        file=file,
        kind=_kind(text),
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        text=text,
    )


def keep(path: Path) -> str:
    """A copy of a dropped file in the folder “inbox”, made once; its name there. Raises DocumentRefused, OSError.

    The name holds a digest of the content: whatever becomes of the dropped file, and whatever is dropped under
    the same name later, a run reads what it was started with.
    """
    content = content_of(path, refused=DocumentRefused, what="an invoice")
    _must_say_something(content, path.name)
    digest = hashlib.sha256(content).hexdigest()[:12]
    folder = folders()["inbox"]
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{path.stem}-{digest}{path.suffix}"
    if not kept.exists():
        aside = folder / f".{digest}.{os.getpid()}.{threading.get_ident()}"
        aside.write_bytes(content)
        aside.replace(kept)
    return kept.name


def _must_say_something(content: bytes, file: str) -> None:
    if not content.strip():
        raise DocumentRefused(f"{file} is empty.")


def _text(content: bytes, file: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    if _CONTROLS.search(text):
        raise DocumentRefused(f"{file} is not text; scans and PDF files are not read yet.")
    return text


def _kind(text: str) -> Literal["ubl", "text"]:
    return "ubl" if text.lstrip().startswith("<") else "text"
