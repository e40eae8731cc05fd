"""The tools `package.read`, `licence.accept` and `report.write`. What acts goes through the gate; asks nobody."""

import hashlib
from typing import Any

from opsconsole.shipped.book import Entry, looked
from opsconsole.shipped.dependency_review import books, installed
from opsconsole.shipped.dependency_review.agents import ACCEPT, READ, WRITE
from opsconsole.shipped.dependency_review.approval import of_licence, of_report
from opsconsole.shipped.dependency_review.contracts import AcceptLicence, PackageName, WriteReport
from runs.canonical import plain
from runs.definitions import Effect, EffectGate, NotKnown, Tool


def read(package: PackageName, _gate: EffectGate) -> dict[str, Any]:
    """What is installed, and the licence that a person has accepted for it before. Raises NotInstalled."""
    facts = installed.facts(package.name, books.where())
    entry = books.accepted(facts.name, facts.version)
    return {**plain(facts), "accepted": entry.licence if entry else None}


def accept(licence: AcceptLicence, gate: EffectGate) -> dict[str, Any]:
    """Enter what counts as the licence, once for the gate's key. Raises what `Book.append` and the gate raise."""
    entry = books.licences().append(
        licence,
        key=gate.key,
        hand_over=gate.hand_over,
        refuse=lambda known: None,
        seconds=min(10.0, gate.seconds_left),
    )
    return _entered(entry)


def look_for_licence(licence: AcceptLicence, key: str) -> dict[str, Any] | NotKnown | None:
    """What `accept` returned for this key, if it happened; the book knows, unless it is damaged or says something
    else."""
    return looked(books.licences(), licence, key, _entered)


def write(report: WriteReport, gate: EffectGate) -> dict[str, Any]:
    """Write the report, once for the gate's key. Raises ReportNotWritten, and the gate's refusal."""
    path = books.write_report(report.text, key=gate.key, hand_over=gate.hand_over)
    return {"file": path.name, "sha256": books.report_digest(path.name)}


def look_for_report(report: WriteReport, key: str) -> dict[str, Any] | NotKnown | None:
    """What `write` returned for this key, if the report stands there as it was to be written."""
    path = books.report_path(key)
    digest = books.report_digest(path.name)
    if digest is None:
        return None
    if digest != hashlib.sha256(report.text.encode()).hexdigest():
        return NotKnown(seen=f"{path.name} is there and says something else.")
    return {"file": path.name, "sha256": digest}


def _entered(entry: Entry[AcceptLicence]) -> dict[str, Any]:
    return {"entry": entry.number, "licence": entry.content.licence}


def _rehearse_licence(licence: AcceptLicence) -> dict[str, Any]:
    return {"entry": books.rehearse_licence(licence), "licence": licence.licence}


def _rehearse_report(report: WriteReport) -> dict[str, Any]:
    file, digest = books.rehearse_report(report.text)
    return {"file": file, "sha256": digest}


READING = Tool(
    name=READ,
    description="Metadata, licence files and size of an installed package. Reads only.",
    arguments=PackageName,
    perform=read,
    sentence=lambda package: f"Read what is installed of {package.name}",
    effect=Effect.NONE,
    egress=False,
)

ACCEPTING = Tool(
    name=ACCEPT,
    description="Enter the licence of a package whose metadata leaves it open. A person decides.",
    arguments=AcceptLicence,
    perform=accept,
    sentence=lambda licence: f"Accept {licence.licence} as the licence of {licence.name} {licence.version}",
    effect=Effect.REVERSIBLE,
    egress=False,
    approval=of_licence,
    look=look_for_licence,
    rehearse=_rehearse_licence,
)

WRITING = Tool(
    name=WRITE,
    description="Write the report as a file into the console's folder “reports”.",
    arguments=WriteReport,
    perform=write,
    sentence=lambda report: f"Write a report of {len(report.text):,} characters",
    effect=Effect.REVERSIBLE,
    egress=False,
    approval=of_report,
    look=look_for_report,
    rehearse=_rehearse_report,
)
