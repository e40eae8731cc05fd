"""Reads from the environment where watched folders lie and what webhooks are signed with.

Every bad value is one sentence; a secret is never repeated in one.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from pathlib import Path

from opsconsole.environment import Refused

LEAST_SECRET_BYTES = 24  # what Standard Webhooks asks for
_PLACE = re.compile(r"[^\s=,/]+/[^\s=,/]+")


def watched_folders(default: dict[str, Path], env: Mapping[str, str] = os.environ) -> dict[str, Path]:
    """WATCHED_FOLDERS="workflow/name=/path, …"; `default` when it is not set at all. Raises Refused."""
    given = env.get("WATCHED_FOLDERS")
    if given is None:
        return default
    found: dict[str, Path] = {}
    for place, path in _pairs("WATCHED_FOLDERS", given, "WORKFLOW/NAME=/PATH"):
        if not Path(path).is_absolute():
            raise Refused(f"WATCHED_FOLDERS: the path of {place} must begin with /.")
        if Path(path) in found.values():
            raise Refused(f"WATCHED_FOLDERS: two starts watch {path}; give each a folder of its own.")
        found[place] = Path(path)
    return found


def webhook_secrets(env: Mapping[str, str] = os.environ) -> dict[str, tuple[str, ...]]:
    """WEBHOOK_SECRETS="workflow/name=whsec_…, …"; several of one hook, for rotation, stand with a space between.

    Raises Refused; a secret is never repeated.
    """
    found: dict[str, tuple[str, ...]] = {}
    for place, secrets in _pairs("WEBHOOK_SECRETS", env.get("WEBHOOK_SECRETS", ""), "WORKFLOW/NAME=whsec_…"):
        found[place] = tuple(secrets.split())
        if not all(_is_secret(secret) for secret in found[place]):
            raise Refused(
                f"WEBHOOK_SECRETS: a secret of {place} is not whsec_ and the base64 of "
                f"{LEAST_SECRET_BYTES} bytes or more."
            )
    return found


def _pairs(name: str, given: str, shape: str) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for part in given.split(","):
        if not part.strip():
            continue
        place, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value or not _PLACE.fullmatch(place):
            raise Refused(f"{name} is not a list of the form {shape}, with commas between.")
        if place in dict(pairs):
            raise Refused(f"{name} names {place} twice.")
        pairs.append((place, value))
    return pairs


def _is_secret(text: str) -> bool:
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return False
    return text.startswith("whsec_") and len(key) >= LEAST_SECRET_BYTES
