"""What the review keeps in the data folder: licences that people have accepted, and its reports. Decides nothing."""

import hashlib
import itertools
import os
from pathlib import Path

from django.conf import settings

from opsconsole.shipped.book import Book, HandOver
from opsconsole.shipped.dependency_review import installed
from opsconsole.shipped.dependency_review.contracts import AcceptLicence
from runs.errors import DataError


class ReportNotWritten(DataError):
    """The disk takes nothing. A data error, because it is certain that no report is there."""


def where() -> tuple[str, ...]:
    """The folders that are reviewed: setting DEPENDENCY_FOLDERS, else those that Python imports from."""
    configured = getattr(settings, "DEPENDENCY_FOLDERS", None)
    return tuple(map(str, configured)) if configured else installed.folders()


def licences() -> Book[AcceptLicence]:
    """Licences that people have accepted: setting ACCEPTED_LICENCES, else `licences.jsonl` in the data folder."""
    configured = getattr(settings, "ACCEPTED_LICENCES", None)
    path = Path(configured or Path(settings.DATA_DIR) / "licences.jsonl")
    return Book(path=path, contract=AcceptLicence, name="The book of licences")


def accepted(name: str, version: str) -> AcceptLicence | None:
    """What was accepted last for exactly this version; None when nobody has."""
    wanted = installed.normal(name), version
    known = (entry.content for entry in licences().entries())
    of_it = [one for one in known if (installed.normal(one.name), one.version) == wanted]
    return of_it[-1] if of_it else None


def rehearsed(name: str, version: str, licence: str) -> bool:
    """Whether a trial in this process would have entered exactly this."""
    so_far = list(_rehearsed_licences.values())  # another review may enter one meanwhile
    tried = ((one.name, one.version, one.licence) for one in so_far)
    return (name, version, licence) in tried


def reports() -> Path:
    """The folder of reports: setting DEPENDENCY_REPORTS, else `reports` in the data folder."""
    return Path(getattr(settings, "DEPENDENCY_REPORTS", None) or Path(settings.DATA_DIR) / "reports")


def report_path(key: str) -> Path:
    """Where the report with this idempotency key stands, written or not."""
    return reports() / f"dependency-review-{hashlib.sha256(key.encode()).hexdigest()[:12]}.md"


def write_report(text: str, *, key: str, hand_over: HandOver) -> Path:
    """Write a report once for its key; one that is there stays as it is. Raises ReportNotWritten.

    `hand_over` is given the one move that makes the file appear, whole, under its name.
    """
    path = report_path(key)
    if path.exists():
        hand_over(_nothing)  # the engine books a permit for every effect that counts as done
        return path
    aside = path.with_name(f".{path.name}.{os.getpid()}.{next(_ASIDE)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(aside, "x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise ReportNotWritten(f"The report could not be written: {error.strerror}.") from error
    try:
        hand_over(lambda _seconds: os.replace(aside, path))
    finally:
        aside.unlink(missing_ok=True)
    return path


def report_digest(file: str) -> str | None:
    """SHA-256 of a report's bytes; None when there is no such report."""
    if file in _rehearsed_reports:
        return _rehearsed_reports[file]
    try:
        return hashlib.sha256((reports() / Path(file).name).read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


_ASIDE = itertools.count()
_REHEARSED = itertools.count(900_000_001)  # numbers that no book reaches
_rehearsed_licences: dict[int, AcceptLicence] = {}
_rehearsed_reports: dict[str, str] = {}


def rehearse_licence(licence: AcceptLicence) -> int:
    """A number for what a trial did not enter; `rehearsed` knows it in this process."""
    number = next(_REHEARSED)
    _rehearsed_licences[number] = licence
    return number


def rehearse_report(text: str) -> tuple[str, str]:
    """Name and digest of a report that a trial did not write; `report_digest` knows it in this process."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    file = f"dependency-review-{digest[:12]}.md"
    _rehearsed_reports[file] = digest
    return file, digest


def _nothing(_seconds: float) -> None:
    """The move of a report that is there already."""
