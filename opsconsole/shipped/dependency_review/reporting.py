"""The report as Markdown, from what was reviewed and verified. Pure; writes no file.

Names and words of packages are other people's text: what would be markup in Markdown is taken apart.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from opsconsole.shipped.dependency_review.contracts import Composed, Gathered, Reviewed, Totals, Verified

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|!])")
_SIGNS = {
    "allowed": "allowed",
    "not_allowed": "**not allowed**",
    "refused": "**refused**",
    "unclear": "**open**",
}


def compose(verified: Verified) -> Composed:
    totals = _totals(verified)
    parts = ["# Dependency review", _about(verified, totals), *_findings(verified), *_all(verified.gathered)]
    return Composed(totals=totals, text="\n\n".join(parts) + "\n")


def _totals(verified: Verified) -> Totals:
    reviewed = verified.gathered.reviewed
    verdicts = Counter(one.verdict for one in reviewed)
    return Totals(
        packages=len(reviewed) + len(verified.gathered.missing),
        reviewed=len(reviewed),
        allowed=verdicts["allowed"],
        not_allowed=verdicts["not_allowed"],
        open=verdicts["unclear"] + verdicts["refused"],
        with_problems=sum(bool(one.problems) for one in reviewed),
        damaged=len(verified.damage),
        size_bytes=sum(one.size_bytes for one in reviewed),
    )


def _about(verified: Verified, totals: Totals) -> str:
    request = verified.gathered.request
    asked = (
        f"packages whose names begin with “{_plain(request.name_starts)}”"
        if request.name_starts
        else "all packages"
    )
    rows = [
        f"Reviewed: {asked} in {', '.join(_plain(folder) for folder in verified.gathered.where)}.",
        "",
        f"- {totals.packages} packages, {totals.reviewed} reviewed, {_size(totals.size_bytes)} on disk",
        f"- licences: {totals.allowed} allowed, {totals.not_allowed} not allowed, {totals.open} open",
        f"- {totals.with_problems} packages with problems in their metadata",
        f"- {verified.files:,} files ({_size(verified.bytes_read)}) held against their records: "
        f"{totals.damaged} packages differ, {verified.without_digests} have no digests",
        f"- allowed licences: {', '.join(_plain(name) for name in request.allowed)}",
        "",
        "Not looked at, because it needs the network: whether a release was yanked, whether it has known holes, and "
        "whether there is a newer one.",
    ]
    return "\n".join(rows)


def _findings(verified: Verified) -> Iterator[str]:
    reviewed = verified.gathered.reviewed
    sections = (
        (
            "Licences that are not allowed",
            [_licence(one) for one in reviewed if one.verdict == "not_allowed"],
        ),
        ("Licences that are open", [_licence(one) for one in reviewed if one.licence is None]),
        ("Licences a person accepted", [_licence(one) for one in reviewed if one.source == "person"]),
        (
            "Files that are not as they were installed",
            [_damaged(one.name, (*one.changed, *one.gone)) for one in verified.damage],
        ),
        (
            "Not reviewed",
            [
                f"{_plain(one.name)} {_plain(one.version)}: {_plain(one.why)}"
                for one in verified.gathered.missing
            ],
        ),
        (
            "Problems",
            [f"{_plain(one.name)}: {_plain(' '.join(one.problems))}" for one in reviewed if one.problems],
        ),
    )
    for title, rows in sections:
        if rows:
            yield f"## {title}\n\n" + "\n".join(f"- {row}" for row in rows)


def _licence(one: Reviewed) -> str:
    note = f" – {_plain(one.note)}" if one.note else ""
    return f"{_plain(one.name)} {_plain(one.version)}: {_plain(one.licence or one.verdict)}{note}"


def _damaged(name: str, files: Sequence[str]) -> str:
    return f"{_plain(name)}: {', '.join(_plain(file) for file in files)}"


def _all(gathered: Gathered) -> Iterator[str]:
    rows = [
        "| Package | Version | Licence | | Size | Files | Requires |",
        "| --- | --- | --- | --- | ---: | ---: | ---: |",
    ]
    rows += [
        f"| {_plain(one.name)} | {_plain(one.version)} | {_plain(one.licence or '–')} | {_SIGNS[one.verdict]} "
        f"| {_size(one.size_bytes)} | {one.files:,} | {one.requires} |"
        for one in gathered.reviewed
    ]
    yield "## All packages"
    yield "\n".join(rows)


def _plain(text: str) -> str:
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def _size(count: int) -> str:
    return f"{count / 1_000_000:,.1f} MB" if count >= 100_000 else f"{count / 1000:,.1f} kB"
