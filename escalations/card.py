"""What a card says of one escalation: the action field by field, what each answer does.

Pure: no database, no markup. The sentences must be true of `runs.engine` (`answered`: what an answer leads to;
`tools.calling`: what a denied action leads to); tests hold them to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from escalations.card_claims import Doubted, doubted, standing
from escalations.card_edge import OF_VALUES, Edge, edge_of
from escalations.changes import flat
from escalations.expiry import deadline
from escalations.models import Escalation
from runs.definitions import Agent, Workflow
from runs.errors import ErrorClass
from runs.models import Question, QuestionKind, Step, Verb
from runs.models.question import EDITABLE, can_look, verbs_of

GLYPHS = {
    QuestionKind.APPROVAL: ("effect", "hand"),
    QuestionKind.CONTRACT: ("broken", "doubt"),
    QuestionKind.CLAIMS: ("broken", "doubt"),
    QuestionKind.ERROR: ("broken", "doubt"),
    QuestionKind.UNKNOWN: ("unknown", "doubt"),
    QuestionKind.LIMIT: ("budget", "care"),
    QuestionKind.MISSING: ("unknown", "doubt"),
}
PRESETS = (
    "Suspicious argument",
    "Wrong payee or target",
    "Wrong amount",
    "Duplicate",
    "Not enough evidence",
    "Outside policy",
)
# Of a run that stands at a cap: nothing about it is wrong, it is only not worth more.
END_PRESETS = (
    "Not worth more",
    "It goes in circles",
    "Nobody needs it any more",
    "Started by mistake",
    "It will be started again later",
    "Somebody does it by hand",
)
_MOST_ROWS = 120
_SAID = ("error", "error_class", "where")  # stand above the rows in words of their own
_TOLD_ELSE = (
    QuestionKind.APPROVAL,
    QuestionKind.UNKNOWN,
    QuestionKind.CLAIMS,
)  # words there try nothing again
VAIN = "Trying again has changed nothing"  # the check with which the engine says so
_TOO_SHORT = 3  # a value of so few signs ("no", "12") is found by chance


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One field. `edited` shows before and after; `failing` is where the contract broke; `doubted` says that a
    failed check names this very value."""

    name: str
    before: Any
    after: Any
    edited: bool
    added: bool
    removed: bool
    failing: bool
    doubted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One way to answer: the words of its button and what follows from it."""

    verb: str
    label: str
    then: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """Everything the card shows beside the rows of the models themselves. `said`: the title has all of the error."""

    sentence: str
    rows: tuple[Row, ...]
    left_out: int
    edge: Edge | None
    failing: str
    error: str
    said: bool
    failed: tuple[Mapping[str, Any], ...]
    passed: tuple[Mapping[str, Any], ...]
    answers: tuple[Answer, ...]
    editable: bool
    needs_edit: bool
    deadline: str
    glyph: str
    tone: str
    cannot_look: str = ""
    vain: str = ""  # why trying again as it is changes nothing
    doubtful: bool = False  # whether the effect happened is not known
    told: bool = False  # whether who tries again is told the words of a note
    claims: tuple[Doubted, ...] = ()
    standing: tuple[Mapping[str, Any], ...] = ()  # claims that stand

    def answer(self, verb: str) -> Answer | None:
        return next((one for one in self.answers if one.verb == verb), None)

    @property
    def approve(self) -> Answer | None:
        return self.answer(Verb.APPROVE)

    @property
    def reject(self) -> Answer | None:
        return self.answer(Verb.REJECT)

    @property
    def respond(self) -> Answer | None:
        return self.answer(Verb.RESPOND)

    @property
    def migrate(self) -> Answer | None:
        return self.answer(Verb.MIGRATE)

    @property
    def top_up(self) -> Answer | None:
        return self.answer(Verb.TOP_UP)

    @property
    def formed(self) -> bool:
        """Whether the first answer is a form on the card, and approving is looking again."""
        return self.migrate is not None or self.top_up is not None

    @property
    def look(self) -> Answer | None:
        return self.answer(Verb.LOOK)

    @property
    def first(self) -> str:
        """The answer whose button stands out: none where it would be a guess, or mend nothing."""
        if self.formed:
            return ""
        if self.doubtful:
            return Verb.LOOK if self.look is not None else ""
        if not self.vain:
            return Verb.APPROVE
        return Verb.RESPOND if self.respond is not None and self.told else ""


def card(escalation: Escalation, workflow: Workflow | None, *, whole: bool = False) -> Card:
    """The card of an escalation whose question, step and run are loaded; `workflow` None when it is gone.

    `whole` leaves no row out: what is approved can be read in full where it is approved.
    """
    question = escalation.question
    rows = _rows(question, escalation.draft, _order(question, workflow))
    glyph, tone = GLYPHS[QuestionKind(question.kind)]
    agent = _last_agent(question)
    edge = edge_of(question, workflow)
    sentence = _sentence(question, escalation.draft)
    in_force = question.action if escalation.draft is None else escalation.draft
    evidence = list(question.evidence)
    most = len(rows) if whole else _MOST_ROWS
    return Card(
        sentence=sentence,
        rows=tuple(rows[:most]),
        left_out=max(0, len(rows) - most),
        edge=edge,
        failing=str(question.action.get("where", "")),
        error=str(question.action.get("error", "")),
        said=question.kind == QuestionKind.ERROR and str(question.action.get("error", "")) in question.title,
        failed=tuple(one for one in evidence if not one.get("ok")),
        passed=tuple(one for one in evidence if one.get("ok")),
        answers=_answers(question, sentence, edge, agent, edited=escalation.draft is not None),
        editable=question.kind in EDITABLE and workflow is not None,
        needs_edit=_needs_edit(question, escalation.draft),
        deadline=deadline(question, escalation.state),
        glyph=glyph,
        tone=tone,
        cannot_look=_cannot_look(question),
        vain=_vain(question, agent),
        told=bool(agent),
        doubtful=question.kind == QuestionKind.UNKNOWN,
        claims=doubted(in_force),
        standing=standing(in_force),
    )


def _needs_edit(question: Question, draft: Mapping[str, Any] | None) -> bool:
    """Whether what is in force cannot be approved as it is."""
    if question.kind == QuestionKind.CLAIMS:
        return draft is None or bool(draft.get("open"))
    return question.kind == QuestionKind.CONTRACT and draft is None


def _cannot_look(question: Question) -> str:
    """Why nobody but a person can find out what happened; empty where a tool can, or nothing is in doubt."""
    if question.kind != QuestionKind.UNKNOWN or can_look(question):
        return ""
    return (
        f"{question.tool} cannot look for itself: its definition names no way to. Look where the effect would show, "
        "and say what you found."
    )


def _vain(question: Question, agent: str) -> str:
    """Why the same again comes to the same; empty where it may go well."""
    if question.kind != QuestionKind.ERROR:
        return ""
    if question.step is None:
        return "The same rules on the same values come to the same: looking again helps when one of them has changed."
    if any(check.get("title") == VAIN for check in question.evidence):
        return "People have let it try again, and it came to the same error."
    if question.action.get("error_class") not in (ErrorClass.DATA, ErrorClass.REASONING):
        return ""
    if agent:
        return "Tried again without a note, the agent is asked what it was asked before."
    return "The same function on the same values comes to the same: trying again helps when what it reads has changed."


def _sentence(question: Question, draft: Mapping[str, Any] | None) -> str:
    action = question.action if draft is None else draft
    if action.get("sentence"):
        return str(action["sentence"])
    node = question.step.node if question.step else ""
    match question.kind:
        case QuestionKind.CONTRACT:
            return f"Hand on this value as the output of {node}"
        case QuestionKind.CLAIMS:
            return f"Hand on the claims that stand, as the output of {node}"
        case QuestionKind.ERROR if question.step is None:
            return f"Nothing, until the rules of {question.run.workflow} find a way on"
        case QuestionKind.ERROR:
            return f"Nothing more at {node}, until you say how it goes on"
        case QuestionKind.LIMIT:
            return f"Nothing more at {node}, until there is room for the call that asks"
        case QuestionKind.MISSING:
            gone = f"{question.run.workflow} v{question.action.get('version', question.run.version)}"
            return f"Nothing, until you say how run {question.run_id} goes on without {gone}"
        case _:
            return f"Look again for {question.run.workflow} v{question.run.version}"


def _order(question: Question, workflow: Workflow | None) -> list[str]:
    """The contract's fields in the order their author wrote them: the database keeps no order."""
    if workflow is None or question.step is None:
        return []
    try:
        node = workflow.node(question.step.node)
    except LookupError:
        return []
    if question.kind in OF_VALUES:
        return list(node.gives.model_fields)
    tools = node.work.tools if isinstance(node.work, Agent) else ()
    found = next((tool for tool in tools if tool.name == question.tool), None)
    return list(found.arguments.model_fields) if found else []


def _rows(question: Question, draft: Mapping[str, Any] | None, order: Sequence[str]) -> list[Row]:
    if question.kind == QuestionKind.LIMIT:
        return []  # its figures are shown as they are now (`used_up`)
    old = _fields(question, question.action, order)
    new = old if draft is None else _fields(question, draft, order)
    where = str(question.action.get("where", "")) if question.kind in OF_VALUES else ""
    names = [*old, *(name for name in new if name not in old)]
    if (
        question.kind == QuestionKind.CLAIMS
    ):  # claims stand below, each beside its evidence; here is what was edited
        names = [name for name in names if not name.startswith("claims") or old.get(name) != new.get(name)]
    doubts = _doubted(question)
    rows = [_row(name, old, new, _fails(name, where), doubts) for name in names]
    return sorted(rows, key=lambda row: not row.failing)  # what is wrong is read first


def _doubted(question: Question) -> frozenset[str]:
    """The values that failed checks name, without their spaces and whether small or capital: guards quote plainly."""
    failed = [check for check in question.evidence if not check.get("ok")]
    pairs = [pair for check in failed for pair in check.get("details", ()) if len(pair) == 2]
    named = [
        part for _, value in pairs for part in (value, str(value).partition(" = ")[2])
    ]  # "to = anna@…" too
    return frozenset(_bare(value) for value in named if len(_bare(value)) > _TOO_SHORT)


def _bare(value: Any) -> str:
    return "".join(str(value).split()).casefold()


def _fields(question: Question, action: Mapping[str, Any], order: Sequence[str]) -> dict[str, Any]:
    """The fields of what would happen. Tool and contract stand elsewhere on the card."""
    if question.kind in (QuestionKind.APPROVAL, QuestionKind.UNKNOWN):
        return flat({"arguments": _sorted(action.get("arguments", {}), order)})
    if question.kind in OF_VALUES:
        return flat({"value": _sorted(action.get("value"), order)})
    return {name: value for name, value in flat(dict(action)).items() if name not in _SAID and value != ""}


def _sorted(value: Any, order: Sequence[str]) -> Any:
    if not isinstance(value, Mapping):
        return value
    known = {name: value[name] for name in order if name in value}
    return {**known, **value}


def _row(
    name: str, old: Mapping[str, Any], new: Mapping[str, Any], failing: bool, doubts: frozenset[str]
) -> Row:
    before, after = old.get(name), new.get(name)
    return Row(
        name=name or "value",
        before=before,
        after=after,
        edited=before != after or (name in old) != (name in new),
        added=name not in old,
        removed=name not in new,
        failing=failing,
        doubted=_bare(after) in doubts,
    )


def _fails(name: str, where: str) -> bool:
    """Whether a field is where the contract broke; paths count list items from 0, fields of a card from 1."""
    if not where:
        return False
    path = ".".join(str(int(part) + 1) if part.isdecimal() else part for part in where.split("."))
    return name == path or name.startswith(f"{path}.") or path.startswith(f"{name}.")


def _answers(
    question: Question, sentence: str, edge: Edge | None, agent: str, *, edited: bool
) -> tuple[Answer, ...]:
    words = verbs_of(question)
    return tuple(
        Answer(
            verb=verb,
            label=_label(question, verb, words[verb], sentence, edge, edited=edited),
            then=_then(question, verb, agent),
        )
        for verb in words
    )


def _label(
    question: Question, verb: str, word: str, sentence: str, edge: Edge | None, *, edited: bool
) -> str:
    """The button says what follows."""
    if verb == Verb.RESPOND and question.kind == QuestionKind.CLAIMS:
        return f"{word} to {question.action.get('back_to', '')}"
    if verb != Verb.APPROVE:
        return word
    if question.kind == QuestionKind.APPROVAL:
        how = "Approve as edited" if edited else "Approve"
        return f"{how}: {sentence[:1].lower()}{sentence[1:]}"
    if question.kind in OF_VALUES and edge is not None:
        return f"{word}, go on to {edge.consumer}"
    if question.kind == QuestionKind.ERROR and question.step is not None:
        return f"Try {question.step.node} again"
    return word


def _then(question: Question, verb: str, agent: str) -> str:
    """What follows an answer, in a sentence; empty where the button says it all."""
    match verb, question.kind:
        case _ if question.step is None:
            return _then_of_run(question, verb)
        case Verb.REJECT, QuestionKind.APPROVAL:
            return "Nothing is sent. The agent receives the reason and the run goes on with it."
        case Verb.REJECT, QuestionKind.UNKNOWN:
            return "It is not sent again. The agent receives the reason and the run goes on with it."
        case Verb.REJECT, _:
            return _then_ended(question.step)
        case Verb.RESPOND, QuestionKind.APPROVAL:
            return "Nothing is sent. The agent receives your words as the answer and goes on."
        case Verb.RESPOND, QuestionKind.UNKNOWN:
            return "It is recorded as done, with your words as the note; the run goes on."
        case Verb.LOOK, _:
            return (
                f"{question.tool} looks by its key. When it is sure, the run goes on by itself: recorded as done, or "
                "sent again with the same key. When it is not, this comes back with what was seen."
            )
        case Verb.RESPOND, QuestionKind.CLAIMS:
            by = question.action.get("back_to", "")
            return f"{by} makes the claims anew and is told your words; what it claims is verified again."
        case Verb.DROP | Verb.CONFIRM, _:
            return (
                "The run goes on with the claims that stand and those you confirm; the others are left out."
            )
        case Verb.TOP_UP, _:
            return (
                f"The limit stays; so much more is allowed here alone. {question.step.node} goes on at the same call: "
                "what is done is not done again, and the agent is told nothing."
            )
        case Verb.APPROVE, QuestionKind.LIMIT:
            return "The same call asks again. With room it goes on; without, this comes back."
        case Verb.RESPOND, _:
            return _then_again(question.step, agent)
    return ""


def _then_of_run(question: Question, verb: str) -> str:
    if verb == Verb.REJECT:
        return "The run ends, with your reason."
    if verb == Verb.MIGRATE:
        return "What is done stays done. Approvals given before are asked for again where they are needed."
    if verb == Verb.APPROVE and question.kind == QuestionKind.ERROR:
        return "The rules are asked again what comes next. Nothing that is done is done again."
    return ""


def _then_ended(step: Step) -> str:
    if step.parent_id is not None:
        return f"This task ends at {step.node}, with your reason. The others go on where the join allows it."
    return f"The run ends at {step.node}, with your reason."


def _then_again(step: Step, agent: str) -> str:
    told = "the agent is told your words" if agent else "a function is not told your words"
    return f"{step.node} is tried again; {told}."


def _last_agent(question: Question) -> str:
    """Who is told what people write; empty for a function. No query where nobody asks."""
    if question.step is None or question.kind in _TOLD_ELSE or Verb.RESPOND not in verbs_of(question):
        return ""
    last = question.step.attempts.order_by("-number").first()
    return last.agent if last else ""
