"""Addresses that are written in another way than they are used: encoded, escaped, kept from being links. Pure.

Whoever reads such a text can write out the address; so what is compared has it written out too. Nothing is judged here,
and what an agent puts together out of several places is not found.
"""

from __future__ import annotations

import base64
import binascii
import html
import re

_ENCODED = re.compile(r"(?<![\w+/=-])(?=[\w+/-]*[A-Z])[A-Za-z0-9+/_-]{12,2000}={0,2}(?![\w+/=-])", re.ASCII)
_HEX = re.compile(r"(?<!\w)(?:[2-7][0-9a-fA-F]){8,1000}(?!\w)", re.ASCII)
_PERCENT = re.compile(r"%(2[1-9a-fA-F]|[3-6][0-9a-fA-F]|7[0-9a-eA-E])")
_DOT = re.compile(
    r"(?<=\w)(?:\[\.\]|\(\.\)| ?[\[({]dot[\])}] ?)(?=\w)|(?<=[a-z0-9])[。｡](?=[a-z])", re.IGNORECASE
)
_AT = re.compile(r"(?<=\w)(?:\[@\]|\(@\)| ?[\[({]at[\])}] ?)(?=\w)", re.IGNORECASE)
_DOTS = ("[.]", "(.)", "[dot]", "(dot)", "{dot}", "。", "｡")
_ATS = ("[@]", "(@)", "[at]", "(at)", "{at}")
_SCHEME = re.compile(r"\bhxxp(?=s?(?:://|\[:\]//))", re.IGNORECASE)
_LABEL = re.compile(r"(?<![\w-])xn--([a-z0-9-]{1,59})", re.IGNORECASE)
_IN_FOURS = re.compile(
    r"\b[A-Z]{2}\d\d [A-Z0-9]{4}(?: (?=[A-Z]{0,3}\d)[A-Z0-9]{4}){2,6}(?: (?=[A-Z]{0,2}\d)[A-Z0-9]{1,3})?\b",
    re.IGNORECASE,
)  # an account as people write it
_REACHES = re.compile(r"[\w-]\.[a-z]{2,24}\b|://|\w@\w|\b(?:\d{1,3}\.){3}\d{1,3}\b", re.IGNORECASE)
_SHORTEST = 12  # letters and digits alone that hold an encoded address
_LAYERS = 3  # of escapes around escapes


def undisguised(text: str) -> str:
    """The text with every address that is encoded or escaped written out in its place."""
    if len(text) < _SHORTEST and text.isalnum():
        return text  # a number, a word: most values are
    for _ in range(_LAYERS):
        before = text
        text = _ENCODED.sub(lambda found: _from_base64(found[0]), text)
        text = _HEX.sub(lambda found: _from_hex(found[0]), text)
        if "&" in text and ";" in text:
            text = html.unescape(text)
        if "%" in text:
            text = _PERCENT.sub(lambda found: chr(int(found[1], 16)), text)
        if text == before:
            break
    low = text.lower()  # to look for a sign costs a hundredth of looking for what it is part of
    if any(sign in low for sign in _DOTS):
        text = _DOT.sub(".", text)
    if any(sign in low for sign in _ATS):
        text = _AT.sub("@", text)
    if "hxxp" in low:
        text = _SCHEME.sub("http", text)
    if "xn--" in low:
        text = _LABEL.sub(lambda found: _from_punycode(found[0], found[1]), text)
    return _IN_FOURS.sub(lambda found: found[0].replace(" ", ""), text)


def _from_base64(text: str) -> str:
    padded = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return _told(base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True), text)
    except (binascii.Error, ValueError):
        return text


def _from_hex(text: str) -> str:
    return _told(bytes.fromhex(text), text)


def _told(found: bytes, text: str) -> str:
    """What was encoded, if it is an address or holds one; else the text as it stands."""
    try:
        told = found.decode()
    except UnicodeDecodeError:
        return text
    return told if told.isprintable() and _REACHES.search(told) else text


def _from_punycode(label: str, coded: str) -> str:
    try:
        return coded.encode().decode("punycode")
    except (UnicodeError, ValueError, OverflowError):
        return label
