"""The two simulated agents of the dependency review: rules behind the model door, in the place of real models.

Nothing here is intelligent and nothing is trusted: what they return is held against what is installed.
"""

import json
from collections.abc import Mapping
from typing import Any

from opsconsole.shipped.dependency_review.judging import ACCEPTED, is_allowed
from runs.agents.door import Message, ModelReply, ModelRequest
from runs.agents.simulated import calls, says, simulated

READ, ACCEPT, WRITE = "package.read", "licence.accept", "report.write"

_MEASURED = ("name", "version", "size_bytes", "files", "requires", "problems")
_UNKNOWN = "LicenseRef-Unknown"  # what SPDX lets one write for a licence that has no name of its own

Facts = Mapping[str, Any]


@simulated("dependency_reviewer")
def reviewer(request: ModelRequest) -> ModelReply:
    """Reads the package, asks to accept a licence that is not clear, and reports."""
    task = json.loads(request.messages[0].text)
    answers = _answers(request.messages)
    if not answers:
        return calls(request, READ, {"name": task["name"]}, text=f"I look at {task['name']}.")
    facts = answers[0]
    licence, source = facts["licence"]["expression"], facts["licence"]["source"]
    if licence is None and facts["accepted"]:
        licence, source = facts["accepted"], "person"
    if licence is None and len(answers) == 1:
        proposed = _proposal(facts)
        return calls(
            request, ACCEPT, proposed, text=f"I would accept {proposed['licence']}. {proposed['because']}"
        )
    note = ""
    if licence is None:
        licence, source, note = _decided(answers[1])
    reviewed = {
        **{name: facts[name] for name in _MEASURED},
        "licence": licence,
        "source": source,
        "verdict": _verdict(licence, task, refused="denied" in answers[-1]),
        "note": note,
    }
    return says(request, reviewed, text=f"{task['name']} {task['version']}: {licence or 'licence open'}.")


@simulated("dependency_clerk")
def clerk(request: ModelRequest) -> ModelReply:
    """Writes the report that was composed, once, and says where it stands."""
    composed = json.loads(request.messages[0].text)
    answers = _answers(request.messages)
    if not answers:
        return calls(request, WRITE, {"text": composed["text"]}, text="I write the report.")
    written = {
        "file": answers[-1].get("file"),
        "sha256": answers[-1].get("sha256"),
        "totals": composed["totals"],
    }
    return says(request, written, text=f"The report is {written['file']}.")


def _proposal(facts: Facts) -> dict[str, Any]:
    licence = facts["licence"]
    return {
        "name": facts["name"],
        "version": facts["version"],
        "licence": licence["proposal"] or _UNKNOWN,
        "because": " ".join(licence["doubts"])[:500],
    }


def _decided(answer: Facts) -> tuple[str | None, str, str]:
    """Licence, source and note, from what the tool or a person answered."""
    if answer.get("licence"):
        return str(answer["licence"]), "person", ACCEPTED
    said = answer.get("denied") or answer.get("answer") or "Nobody decided."
    return None, "none", str(said)[:500]


def _verdict(licence: str | None, task: Facts, *, refused: bool) -> str:
    if licence is None:
        return "refused" if refused else "unclear"
    return "allowed" if is_allowed(licence, tuple(task["allowed"])) else "not_allowed"


def _answers(messages: tuple[Message, ...]) -> list[Facts]:
    said = [json.loads(message.text) for message in messages if message.role == "tool"]
    return [one if isinstance(one, dict) else {} for one in said]
