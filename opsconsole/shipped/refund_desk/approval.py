"""When a person must agree to a refund or to a reply. Pure: judges what an agent proposes against what we reckoned.

The agent's words play no part, and neither do the customer's: what is proposed is compared afresh with the brief.
"""

from opsconsole.shipped.refund_desk import letters
from opsconsole.shipped.refund_desk.contracts import Brief, Check, Finding, Mail, Refund, Reviewed
from runs.definitions import Approval
from runs.definitions import Check as Evidence
from runs.errors import DataError

DEADLINE_SECONDS = 8 * 3600.0

_PRIORITIES = {"proposal": 90, "mail": 90, "steering": 85, "threat": 80, "receipt": 70}
DECIDED = "A-6.5"
_OF_REPLIES = ("steering", "threat", "no_clause")


def of_refund(proposal: Refund, reviewed: Reviewed) -> Approval | None:
    """An Approval above the limit of our terms, or when any check failed; else None."""
    brief = reviewed.brief
    checks = (proposed(proposal, brief), _within(proposal, brief), *brief.checks)
    return _approval(
        checks, "refund_desk", f"{proposal.amount} {proposal.currency} to {brief.message.sender}"
    )


def of_reply(mail: Mail, reviewed: Reviewed) -> Approval | None:
    """An Approval when a person should read the letter before the customer does; else None."""
    brief = reviewed.brief
    checks = [_as_drafted(mail, reviewed), _facts(reviewed), _style(reviewed), _as_planned(brief)]
    checks += [one for one in brief.checks if one.name in _OF_REPLIES and not _seen_before(one, brief)]
    return _approval(tuple(checks), "refund_desk reply", f"a reply to {brief.message.sender}")


def proposed(proposal: Refund, brief: Brief) -> Check:
    """Whether what the agent proposes is what our terms make of the order."""
    finding = next((one for one in brief.findings if one.order == proposal.order), None)
    if finding is None or not finding.amount:
        title = "Nothing is due for this order"
        return Check(ok=False, name="proposal", title=title, details=(("Proposed", proposal.order),))
    wrong = tuple(
        (name, f"proposed {given}, reckoned {right}")
        for name, given, right in _pairs(proposal, finding)
        if given != right
    )
    if wrong:
        title = "What the agent proposes is not what we reckoned"
        return Check(ok=False, name="proposal", title=title, details=wrong)
    clause = next((one.text for one in brief.clauses if one.number == finding.clause), "")
    details = (("Because", finding.why), (f"Clause {finding.clause}", clause))
    return Check(ok=True, name="proposal", title="The proposal is what our terms say", details=details)


def _pairs(proposal: Refund, finding: Finding) -> tuple[tuple[str, object, object], ...]:
    return (
        ("Amount", proposal.amount, finding.amount),
        ("Currency", proposal.currency, finding.currency),
        ("Items", ", ".join(sorted(proposal.items)), ", ".join(sorted(finding.items))),
        ("Clause", proposal.clause, finding.clause),
    )


def _within(proposal: Refund, brief: Brief) -> Check:
    if proposal.amount > brief.limit:
        details = (("Proposed", str(proposal.amount)), ("Limit", str(brief.limit)))
        return Check(ok=False, name="amount", title=f"Above {brief.limit}", details=details)
    return Check(ok=True, name="amount", title=f"At most {brief.limit}")


def _as_drafted(mail: Mail, reviewed: Reviewed) -> Check:
    message, letter = reviewed.brief.message, reviewed.letter
    pairs = (
        ("To", mail.to, message.sender),
        ("Subject", mail.subject, letter.subject),
        ("Answers", mail.in_reply_to, message.message_id),
    )
    wrong = [(name, f"proposed {given}, should be {right}") for name, given, right in pairs if given != right]
    wrong += [("Text", "not the one that was drafted")] if mail.body != letter.body else []
    title = "The reply differs from the draft" if wrong else "The reply is the draft, to its sender"
    return Check(ok=not wrong, name="mail", title=title, details=tuple(wrong))


def _facts(reviewed: Reviewed) -> Check:
    """Once more before it leaves: a draft that a person gave has not passed `accept`."""
    try:
        letters.accept(reviewed.brief, reviewed.letter)
    except DataError as wrong:
        details = (("Found", wrong.message),)
        return Check(
            ok=False, name="letter", title="The letter says what nobody has reckoned", details=details
        )
    return Check(ok=True, name="letter", title="Amounts and clauses of the letter are ours")


def _style(reviewed: Reviewed) -> Check:
    details = tuple(("Remark", remark) for remark in reviewed.remarks)
    title = (
        "Our style still has something against the letter" if details else "Our style has nothing against it"
    )
    return Check(ok=not details, name="style", title=title, details=details)


def _as_planned(brief: Brief) -> Check:
    """Whether what was paid is what our terms made of it: otherwise a person had a reason, and reads the letter."""
    changed = tuple(
        (one.order, f"{one.amount} {one.currency}") for one in brief.findings if one.clause == DECIDED
    )
    title = "A person has decided otherwise than our terms" if changed else "Nobody has decided otherwise"
    return Check(ok=not changed, name="decided", title=title, details=changed)


def _seen_before(check: Check, brief: Brief) -> bool:
    """Whether a person has looked at it when the refund was approved. A threat is looked at again."""
    return check.name == "steering" and brief.kind == "refund"


def _approval(checks: tuple[Check, ...], group: str, what: str) -> Approval | None:
    failed = [check for check in checks if not check.ok]
    if not failed:
        return None
    titles = "; ".join(check.title for check in failed)
    one = len(failed) == 1
    return Approval(
        reason=f"{'a check' if one else f'{len(failed)} checks'} failed for {what}: {titles}",
        evidence=tuple(Evidence(ok=one.ok, title=one.title, details=one.details) for one in checks),
        priority=max(_PRIORITIES.get(check.name, 60) for check in failed),
        deadline_seconds=DEADLINE_SECONDS,
        group=f"{group}: {failed[0].name}",
    )
