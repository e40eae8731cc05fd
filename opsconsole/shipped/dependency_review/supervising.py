"""The supervisor of the dependency review: it plans one task a package, and performs nothing."""

from opsconsole.shipped.dependency_review import books, installed
from opsconsole.shipped.dependency_review.contracts import PackageTask, ReviewRequest
from runs.definitions import Plan, Task
from runs.errors import DataError

REVIEW = "review"
MOST_PACKAGES = 500


def plan(request: ReviewRequest) -> Plan:
    """A task for every installed package whose name begins as asked. Raises DataError for none or too many."""
    begins = installed.normal(request.name_starts)
    chosen = [
        (name, version)
        for name, version in installed.packages(books.where())
        if installed.normal(name).startswith(begins)
    ]
    if not chosen:
        raise DataError(
            f"No installed package has a name that begins with “{request.name_starts}”.", where="name_starts"
        )
    if len(chosen) > MOST_PACKAGES:
        raise DataError(
            f"{len(chosen)} packages are more than the {MOST_PACKAGES} of one review: give the names' beginning.",
            where="name_starts",
        )
    return Plan(tasks=tuple(_task(name, version, request) for name, version in chosen))


def _task(name: str, version: str, request: ReviewRequest) -> Task:
    given = PackageTask(name=name, version=version, allowed=request.allowed)
    return Task(worker=REVIEW, input=given.model_dump(mode="json"))
