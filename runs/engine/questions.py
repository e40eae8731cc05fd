"""Asking a person: parks a step at a question, inside the caller's transaction. The signal is the caller's last act."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from runs.canonical import digest, plain
from runs.definitions import Check
from runs.engine import bounds
from runs.engine.record import event, now
from runs.models import Question, QuestionKind, Run, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Everything a person needs to answer. `action` is what would happen, as canonical data."""

    kind: QuestionKind
    title: str
    reason: str
    action: dict[str, Any]
    evidence: tuple[Check, ...] = ()
    words: str = ""
    tool: str = ""
    effect: str = ""
    call_key: str = ""
    contract: str = ""
    group: str = ""
    priority: int = 50
    deadline_seconds: float = 3600.0
    extra: dict[str, Any] = field(default_factory=dict)
    found: tuple[dict[str, Any], ...] = ()  # what guards have found, each an event before the question


def action_digest(action: dict[str, Any]) -> str:
    """What an approval is bound to: for a tool its name and arguments, else the whole action."""
    if "tool" in action:
        return digest({"tool": action["tool"], "arguments": action["arguments"]})
    return digest(action)


def shown_digest(action: Any, evidence: Any) -> str:
    """What the screen showed: the action together with its evidence."""
    return digest({"action": action, "evidence": evidence})


def evidence_data(checks: tuple[Check, ...]) -> list[dict[str, Any]]:
    """Failed checks first; the order is part of what was shown."""
    ordered = sorted(checks, key=lambda check: check.ok)
    return [
        {
            "ok": check.ok,
            "title": plain(check.title),
            "details": [list(map(plain, pair)) for pair in check.details],
        }
        for check in ordered
    ]


def _expires(run: Run, seconds: float) -> datetime:
    """No question is open longer than its run: an answer after that would let nothing go on, and the run would wait on
    for nobody. A hold moves both."""
    moment = now()
    expires: datetime = min(moment + timedelta(seconds=seconds), bounds.ends_by(run, moment))
    return expires


def ask(run: Run, step: Step | None, asking: Asking) -> Question:
    """Write the question. The caller moves run and step, saves them, and sends the signal last."""
    action = plain(asking.action)
    evidence = evidence_data(asking.evidence)
    question = Question.objects.create(
        run=run,
        step=step,
        kind=asking.kind,
        title=plain(asking.title)[:300],
        reason=plain(asking.reason),
        group=plain(asking.group)[:120],
        priority=asking.priority,
        tool=asking.tool,
        effect=asking.effect,
        call_key=asking.call_key,
        contract=asking.contract,
        action=action,
        evidence=evidence,
        words=plain(asking.words),
        digest=shown_digest(action, evidence),
        simulated=run.simulated,
        expires_at=_expires(run, asking.deadline_seconds),
    )
    for one in asking.found:
        event(run, "guard", step=step, **one)
    event(run, "asked", step=step, question=question.pk, asks=asking.kind, reason=plain(asking.reason)[:500])
    return question
