"""Which licence a package has, from what its metadata says and what its licence files read like. Pure.

Clear is what is stated and not contradicted. Where nothing is stated, or two things are, nobody guesses: a proposal
is made for a person to decide on.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from opsconsole.shipped.dependency_review.contracts import Licence
from opsconsole.shipped.dependency_review.expressions import NotAnExpression, parse

_FIELDS = {
    "mit license": "MIT",
    "the mit license": "MIT",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "bsd 2-clause license": "BSD-2-Clause",
    "bsd 3-clause license": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause",
    "modified bsd": "BSD-3-Clause",
    "isc license": "ISC",
    "mpl 2.0": "MPL-2.0",
}
_CLASSIFIERS = {
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "isc license (iscl)": "ISC",
    "python software foundation license": "PSF-2.0",
    "the unlicense (unlicense)": "Unlicense",
    "gnu general public license v3 (gplv3)": "GPL-3.0-only",
    "gnu lesser general public license v3 (lgplv3)": "LGPL-3.0-only",
}
# Names of families: which one it is, only the text tells.
_FAMILIES = {"bsd": "BSD-", "bsd license": "BSD-", "apache software license": "Apache-", "apache": "Apache-"}
_EXACT = re.compile(
    r"MIT|MIT-0|ISC|0BSD|Unlicense|Zlib|BSD-[23]-Clause|(?:Apache|MPL|PSF|ZPL|Python)-\d[\d.]*"
    r"|(?:LGPL|GPL|AGPL)-\d[\d.]*(?:-only|-or-later)"
)

_LONG = 200  # characters of a field from which on it is a text

_MIT = re.compile(r"permission is hereby granted, free of charge, to any person", re.IGNORECASE)
_ISC = re.compile(
    r"permission to use, copy, modify, and(?:/or)? distribute this software for any", re.IGNORECASE
)
_APACHE = re.compile(r"apache license,?\s+version 2\.0", re.IGNORECASE)
_BSD = re.compile(r"redistributions of source code must retain", re.IGNORECASE)
_BSD_NAMES = re.compile(
    r"(?:neither the names?|the names?) .{1,200}endorse or promote", re.IGNORECASE | re.DOTALL
)
_MPL = re.compile(r"mozilla public license,? version 2\.0", re.IGNORECASE)
_PSF = re.compile(r"python software foundation license version 2", re.IGNORECASE)
_LGPL = re.compile(r"gnu lesser general public license\s+version 3", re.IGNORECASE)
_GPL = re.compile(r"gnu general public license\s+version 3", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What the metadata says, as it stands there. `texts` are the licence files."""

    expression: str = ""
    field: str = ""
    classifiers: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


def licence(stated: Stated) -> Licence:
    """The licence, or a proposal with the doubts about it."""
    read = sorted({name for text in stated.texts for name in reads_like(text)})
    names, families = _named(stated)
    if len(names) > 1:
        return _open(
            names, [f"Its metadata names {' and '.join(names)} and does not say how they belong together."]
        )
    if names:
        return _held_against(names[0], read)
    of_family = [name for name in read if any(name.startswith(family) for family in families)]
    if len(families) == 1 and len(of_family) == 1:
        return Licence(expression=of_family[0], source="file")
    if families:
        words = " and ".join(sorted({family.rstrip("-") for family in families}))
        found = f"its files read like {_list(read)}" if read else "it brings no licence file that could tell"
        return _open(of_family or read, [f"Its metadata says no more than {words}, and {found}."])
    return _open(read, [_unnamed(stated), f"Its files read like {_list(read)}."])


def reads_like(text: str) -> tuple[str, ...]:
    """The licences whose words stand in a text."""
    flat = " ".join(text.split())
    found = [
        name
        for name, pattern in (
            ("MIT", _MIT),
            ("ISC", _ISC),
            ("Apache-2.0", _APACHE),
            ("MPL-2.0", _MPL),
            ("PSF-2.0", _PSF),
            ("LGPL-3.0-only", _LGPL),
            ("GPL-3.0-only", _GPL),
        )
        if pattern.search(flat)
    ]
    if _BSD.search(flat):
        found.append("BSD-3-Clause" if _BSD_NAMES.search(flat) else "BSD-2-Clause")
    return tuple(found)


def _unnamed(stated: Stated) -> str:
    said = " ".join((stated.expression or stated.field).split())
    return (
        f"Its metadata says “{said:.80}”, which names no licence we know."
        if said
        else "Its metadata names no licence."
    )


def _named(stated: Stated) -> tuple[list[str], list[str]]:
    """Licences that the metadata names without doubt, and families of which it names no member.

    What is more exact stands alone: an expression before the field, the field before the classifiers.
    """
    if stated.expression:
        try:
            return [parse(stated.expression).text], []
        except NotAnExpression:
            return [], []
    if named := _of_field(stated.field):
        return [named], []
    if len(stated.field) > _LONG and len(written := reads_like(stated.field)) == 1:
        return list(written), []  # the whole text stands in the field
    kinds = [one.rpartition(" :: ")[2].casefold() for one in stated.classifiers]
    names = [_CLASSIFIERS[kind] for kind in kinds if kind in _CLASSIFIERS]
    families = [_FAMILIES[kind] for kind in (*kinds, stated.field.strip().casefold()) if kind in _FAMILIES]
    return list(dict.fromkeys(names)), list(dict.fromkeys(families))


def _of_field(field: str) -> str | None:
    words = " ".join(field.split())
    if known := _FIELDS.get(words.casefold()):
        return known
    try:
        found = parse(words)
    except NotAnExpression:
        return None
    return found.text if all(_EXACT.fullmatch(name) for name in found.names()) else None


def _held_against(name: str, read: Sequence[str]) -> Licence:
    """A licence that is stated, unless the files that were recognised say something else altogether."""
    expected = parse(name).names()
    if read and not any(_same(one, other) for one in read for other in expected):
        if all(not _recognised(one) for one in expected):
            return Licence(expression=name, source="metadata")
        return _open([name], [f"Its metadata says {name}, its files read like {_list(read)}."])
    return Licence(expression=name, source="metadata")


def _recognised(name: str) -> bool:
    """Whether `reads_like` could have found this one."""
    return name.startswith(("MIT", "ISC", "Apache-2", "MPL-2", "PSF-2", "LGPL-3", "GPL-3", "BSD-2", "BSD-3"))


def _same(read: str, stated: str) -> bool:
    """Whether texts of both read alike: -only and -or-later do, and so do MIT and MIT-0."""
    stem = re.sub(r"-(?:only|or-later|0)$", "", stated)
    return re.sub(r"-only$", "", read) == stem


def _open(names: Sequence[str], doubts: Sequence[str]) -> Licence:
    proposal = " OR ".join(names) if 0 < len(names) <= 3 else None
    return Licence(proposal=proposal, doubts=tuple(doubts))


def _list(names: Sequence[str]) -> str:
    return " and ".join(names) or "no licence we know"
