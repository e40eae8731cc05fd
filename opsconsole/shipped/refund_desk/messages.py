"""Reads one message of a folder that is allowed: an e-mail as a file (RFC 5322). Follows no link, makes no sense of it.

What it refuses is a `MessageRefused` whose text is the sentence the operator reads. Only plain text is read; what is
attached is left alone.
"""

import email
import re
from collections.abc import Mapping
from datetime import date
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default
from email.utils import parsedate_to_datetime
from pathlib import Path

from django.conf import settings

from opsconsole.shipped.folders import content_in
from opsconsole.shipped.refund_desk.contracts import BODY_LIMIT, CustomerMessage, Folder
from runs.errors import DataError

SAMPLES = Path(__file__).parent / "samples"


class MessageRefused(DataError):
    """The file cannot be read as a message; the text says which and why."""


def folders() -> dict[str, Path]:
    """The folders a run may name. The setting REFUND_FOLDERS (name -> path) moves them."""
    standard = {"samples": SAMPLES / "messages", "inbox": Path(settings.DATA_DIR) / "messages"}
    return standard | {name: Path(path) for name, path in getattr(settings, "REFUND_FOLDERS", {}).items()}


def read(folder: Folder, file: str, *, allowed: Mapping[str, Path]) -> CustomerMessage:
    """Read `file` of `folder`, at most 1,000,000 bytes. Raises MessageRefused."""
    content = content_in(folder, file, allowed=allowed, refused=MessageRefused, what="a letter of a customer")
    message = email.message_from_bytes(content, policy=default)
    sender = _sender(message, file)
    return CustomerMessage(
        file=file,
        message_id=_one_line(str(message.get("Message-ID", f"<{file}>"))),
        sender=sender.addr_spec.lower(),
        name=_one_line(sender.display_name),
        received=_received(message, file),
        subject=_one_line(str(message.get("Subject", ""))),
        body=_body(message, file),
    )


def _sender(message: EmailMessage, file: str) -> Address:
    header = message.get("From")
    addresses: tuple[Address, ...] = getattr(header, "addresses", ())
    if len(addresses) != 1 or not re.fullmatch(
        r"[^@\s<>]{1,64}@[A-Za-z0-9.-]{3,190}", addresses[0].addr_spec
    ):
        raise MessageRefused(f"{file} does not say from which one address it came.")
    return addresses[0]


def _received(message: EmailMessage, file: str) -> date:
    try:
        return parsedate_to_datetime(str(message["Date"])).date()
    except (TypeError, ValueError):
        raise MessageRefused(f"{file} has no date that can be read.") from None


def _body(message: EmailMessage, file: str) -> str:
    part = message.get_body(preferencelist=("plain",))
    if part is None:
        raise MessageRefused(f"{file} holds no plain text.")
    try:
        text = str(part.get_content()).replace("\r\n", "\n").strip()
    except (LookupError, UnicodeError):
        raise MessageRefused(f"The text of {file} cannot be decoded.") from None
    if not text:
        raise MessageRefused(f"{file} is empty: there is nothing to answer.")
    if len(text) > BODY_LIMIT:
        raise MessageRefused(f"The text of {file} is longer than {BODY_LIMIT:,} characters.")
    return text


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
