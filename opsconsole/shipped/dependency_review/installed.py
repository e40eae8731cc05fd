"""What is installed: packages, their metadata, licence files and sizes, read from disk. Imports no Django.

Changes nothing and asks no index: whether a release was yanked or has known holes is not to be seen here.
"""

import base64
import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, MetadataPathFinder
from pathlib import Path

from opsconsole.shipped.dependency_review.contracts import Damage, Facts
from opsconsole.shipped.dependency_review.licences import Stated, licence
from runs.errors import DataError

_LARGEST_TEXT = 200_000
_REQUIREMENT = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)[^;]*(;.*)?$")
_MOST_NAMED = 20  # files that are named of a damaged package


class NotInstalled(DataError):
    """There is no such package here any more."""


def folders() -> tuple[str, ...]:
    """The folders that Python imports from, those with installed packages only."""
    paths = (Path(entry) for entry in sys.path if entry)
    return tuple(
        str(path) for path in dict.fromkeys(paths) if path.is_dir() and any(path.glob("*.dist-info"))
    )


def packages(where: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Name and version of every package, by name, each once: what comes first in `where` is what is imported."""
    seen: dict[str, tuple[str, str]] = {}
    for found in _distributions(where):
        name, version = _said(found, "Name"), _said(found, "Version")
        if name and version:
            seen.setdefault(normal(name), (name, version))
    yield from (seen[key] for key in sorted(seen))


def facts(name: str, where: Sequence[str]) -> Facts:
    """What is to be known of a package without the network. Raises NotInstalled."""
    found = _distribution(name, where)
    sizes = [size for _, size in _files(found)]
    stated = _stated(found)
    return Facts(
        name=_said(found, "Name"),
        version=_said(found, "Version"),
        licence=licence(stated),
        said=tuple(
            (what, said[:200])
            for what, said in (
                ("License-Expression", stated.expression),
                ("License", " ".join(stated.field.split())),
                ("Classifiers", "; ".join(one.rpartition(" :: ")[2] for one in stated.classifiers)),
                ("Licence files", f"{len(stated.texts)} read" if stated.texts else ""),
            )
            if said
        ),
        size_bytes=sum(size for size in sizes if size is not None),
        files=len(sizes),
        requires=sum(1 for _ in _requirements(found)),
        problems=tuple(_problems(found, stated, sizes, where)),
    )


def normal(name: str) -> str:
    """A name in the one form in which names are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def damage(name: str, where: Sequence[str]) -> tuple[Damage | None, int, int, bool]:
    """What is not as it was installed, files and bytes read, and whether its record has digests at all."""
    found = _distribution(name, where)
    changed: list[str] = []
    gone: list[str] = []
    files = size = 0
    for file in found.files or ():
        if file.hash is None:
            continue
        files += 1
        try:
            content = Path(str(file.locate())).read_bytes()
        except OSError:
            gone.append(str(file))
            continue
        size += len(content)
        if _digest(file.hash.mode, content) != file.hash.value:
            changed.append(str(file))
    if not changed and not gone:
        return None, files, size, files > 0
    broken = Damage(name=name, changed=tuple(changed[:_MOST_NAMED]), gone=tuple(gone[:_MOST_NAMED]))
    return broken, files, size, True


def _digest(kind: str, content: bytes) -> str:
    if kind not in ("sha256", "sha384", "sha512"):
        return "unknown digest"
    return base64.urlsafe_b64encode(hashlib.new(kind, content).digest()).rstrip(b"=").decode()


def _said(found: Distribution, field: str) -> str:
    """A field of the metadata; empty when it is not there, which newer Pythons make an error of."""
    values: list[str] = found.metadata.get_all(field) or [""]
    return values[0]


def _distributions(where: Sequence[str]) -> Iterator[Distribution]:
    yield from Distribution.discover(path=list(where))


def _distribution(name: str, where: Sequence[str]) -> Distribution:
    # The finder remembers what stood in a folder by the folder's time; a package may have come within it. Not
    # `importlib.invalidate_caches`: that lets Python 3.11 remember this one all the same, and of two threads that call
    # it at once, after an import has looked into a folder that is not there, the second raises KeyError.
    MetadataPathFinder().invalidate_caches()
    for found in Distribution.discover(name=name, path=list(where)):
        if _said(found, "Name") and _said(found, "Version"):
            return found
    raise NotInstalled(f"{name} is not installed here any more.")


def _files(found: Distribution) -> Iterator[tuple[str, int | None]]:
    """Every recorded file with its size; None for one that is not there."""
    for file in found.files or ():
        try:
            yield str(file), Path(str(file.locate())).stat().st_size
        except OSError:
            yield str(file), None


def _stated(found: Distribution) -> Stated:
    classifiers = found.metadata.get_all("Classifier") or []
    return Stated(
        expression=_said(found, "License-Expression"),
        field=_said(found, "License"),
        classifiers=tuple(one for one in classifiers if one.startswith("License ::") and one.count("::") > 1),
        texts=tuple(_licence_texts(found)),
    )


def _licence_texts(found: Distribution) -> Iterator[str]:
    for file in found.files or ():
        if ".dist-info" not in file.parts[0] or not re.match(r"(?i)(?:li[cs]en[cs]e|copying)", file.name):
            continue
        try:
            content = Path(str(file.locate())).read_bytes()[:_LARGEST_TEXT]
        except OSError:
            continue
        yield content.decode("utf-8", errors="replace")


def _requirements(found: Distribution) -> Iterator[str]:
    """Names of what it always requires: no extras, and nothing that depends on the system."""
    for requirement in found.requires or ():
        match = _REQUIREMENT.match(requirement.strip())
        if match and not match.group(2):
            yield match.group(1)


def _problems(
    found: Distribution, stated: Stated, sizes: Sequence[int | None], where: Sequence[str]
) -> Iterator[str]:
    if not (stated.expression or stated.field or stated.classifiers):
        yield "Its metadata names no licence."
    if not stated.texts:
        yield "It brings no licence file."
    if not _said(found, "Summary"):
        yield "Its metadata has no summary."
    if not _said(found, "Requires-Python"):
        yield "It does not say which Python it needs."
    if found.files is None:
        yield "It has no record of its files, so its size is not known."
    if missing := sum(size is None for size in sizes):
        yield f"{missing} of its recorded files are not there."
    known = _names(where)
    for name in dict.fromkeys(_requirements(found)):
        if normal(name) not in known:
            yield f"It requires {name}, which is not installed."


def _names(where: Sequence[str]) -> set[str]:
    """The names of all packages, from their folders' names alone: quick enough to be asked for every package."""
    found = (path for folder in where for path in Path(folder).glob("*.*-info"))
    return {normal(path.stem.partition("-")[0]) for path in found}
