"""What makes a review of one package right, and when the tasks are enough. Reads what is installed; changes nothing."""

from opsconsole.shipped.dependency_review import books, expressions, installed
from opsconsole.shipped.dependency_review.contracts import (
    Gathered,
    NotReviewed,
    PackageTask,
    Reviewed,
    ReviewRequest,
)
from runs.definitions import Results, TaskState
from runs.errors import DataError

ACCEPTED = "accepted by a person"
_MEASURED = ("name", "version", "size_bytes", "files", "requires", "problems")


def accept(given: PackageTask, reviewed: Reviewed) -> None:
    """That a review says what is installed, and that its licence is stated or was accepted. Raises DataError."""
    facts = installed.facts(given.name, books.where())
    if facts.version != given.version:
        raise DataError(
            f"{given.name} is {facts.version} now and was {given.version} when the review was planned.",
            where="version",
        )
    for name in _MEASURED:
        if getattr(reviewed, name) != getattr(facts, name):
            raise DataError(f"{name} is {getattr(facts, name)!r:.120}.", where=name)
    _licence(given, reviewed, facts.licence.expression)
    if reviewed.licence is not None and reviewed.note not in ("", ACCEPTED):
        raise DataError(
            "A note is for a licence that stays open; nothing else goes into the report.", where="note"
        )
    if reviewed.verdict not in _verdicts(given, reviewed):
        raise DataError(
            f"{reviewed.verdict} does not follow from {reviewed.licence or 'no licence'}.", where="verdict"
        )


def _licence(given: PackageTask, reviewed: Reviewed, stated: str | None) -> None:
    if stated is not None:
        if reviewed.licence != stated or reviewed.source not in ("metadata", "file"):
            raise DataError(f"The licence of {given.name} is stated: {stated}.", where="licence")
        return
    entry = books.accepted(given.name, given.version)
    if reviewed.licence and books.rehearsed(given.name, given.version, reviewed.licence):
        return
    if (entry.licence if entry else None) != reviewed.licence:
        told = f"accepted as {entry.licence}" if entry else "accepted by nobody"
        raise DataError(
            f"The licence of {given.name} {given.version} is not stated, and {told}.", where="licence"
        )
    if reviewed.source != ("person" if entry else "none"):
        raise DataError(f"The licence does not come from “{reviewed.source}”.", where="source")


def _verdicts(given: PackageTask, reviewed: Reviewed) -> tuple[str, ...]:
    if reviewed.licence is None:
        return ("refused", "unclear")
    return ("allowed",) if is_allowed(reviewed.licence, given.allowed) else ("not_allowed",)


def is_allowed(licence: str, names: tuple[str, ...]) -> bool:
    return expressions.allowed(expressions.parse(licence), names)


def gather(results: Results) -> Gathered:
    """The reviews that were done. Raises DataError when they are fewer than the run asks for."""
    request = ReviewRequest.model_validate(results.input)
    done = [one for one in results.results if one.state == TaskState.DONE and one.output]
    missing = [one for one in results.results if one.state != TaskState.DONE or not one.output]
    share = 100 * len(done) / len(results.results)
    if share < request.quorum_percent:
        raise DataError(
            f"{len(done)} of {len(results.results)} packages were reviewed, {share:.0f} %; "
            f"this review needs {request.quorum_percent} %.",
            where="results",
        )
    return Gathered(
        request=request,
        where=books.where(),
        reviewed=tuple(Reviewed.model_validate(one.output) for one in done),
        missing=tuple(
            NotReviewed(
                name=str(one.input.get("name", "")),
                version=str(one.input.get("version", "")),
                why=str(one.state),
            )
            for one in missing
        ),
    )
