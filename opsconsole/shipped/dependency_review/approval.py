"""When a person must agree: always to a licence that is not stated, and to a report that is not the one composed.

What the agent proposes is held against what is installed, read afresh; its words play no part.
"""

from opsconsole.shipped.dependency_review import books, installed
from opsconsole.shipped.dependency_review.contracts import AcceptLicence, Composed, PackageTask, WriteReport
from opsconsole.shipped.dependency_review.judging import is_allowed
from runs.definitions import Approval, Check

DEADLINE_SECONDS = 12 * 3600.0


def of_licence(proposal: AcceptLicence, task: PackageTask) -> Approval | None:
    """An Approval, always: nobody but a person says what a licence is that nobody has stated."""
    facts = installed.facts(task.name, books.where())
    asked_for = (proposal.name, proposal.version) == (task.name, task.version)
    doubts = tuple(("Doubt", doubt) for doubt in facts.licence.doubts)
    checks = (
        Check(ok=False, title="The licence is not clear", details=(*doubts, *facts.said))
        if facts.licence.expression is None
        else Check(
            ok=False, title="The licence is stated already", details=(("It is", facts.licence.expression),)
        ),
        _proposed(proposal, facts.licence.proposal),
        Check(ok=asked_for, title="It is the package under review", details=(("Proposed", proposal.name),)),
        _on_list(proposal, task),
    )
    return Approval(
        reason=f"the metadata of {task.name} {task.version} does not say which licence it has",
        evidence=checks,
        priority=40 if asked_for else 80,
        deadline_seconds=DEADLINE_SECONDS,
        group="dependency_review: unclear licence",
    )


def of_report(report: WriteReport, composed: Composed) -> Approval | None:
    """None for the report that was composed; an Approval for any other text."""
    if report.text == composed.text:
        return None
    lengths = (
        ("Composed", f"{len(composed.text):,} characters"),
        ("Proposed", f"{len(report.text):,} characters"),
    )
    return Approval(
        reason="the agent would write another report than the one composed",
        evidence=(Check(ok=False, title="The text is not the one composed", details=lengths),),
        priority=70,
        deadline_seconds=DEADLINE_SECONDS,
        group="dependency_review: report",
    )


def _proposed(proposal: AcceptLicence, best: str | None) -> Check:
    details = (("Proposed", proposal.licence), ("Best guess", best or "none"))
    if proposal.licence == best:
        return Check(ok=True, title="The proposal is what its files suggest", details=details)
    return Check(ok=False, title="Nothing in its files suggests this licence", details=details)


def _on_list(proposal: AcceptLicence, task: PackageTask) -> Check:
    details = (("Allowed", ", ".join(task.allowed)),)
    if is_allowed(proposal.licence, task.allowed):
        return Check(ok=True, title="This licence is on the list", details=details)
    return Check(ok=False, title="This licence is not on the list", details=details)
