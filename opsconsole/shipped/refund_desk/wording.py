"""A letter taken apart into its sentences, each with what shows it, and put together again. Pure; asks nobody.

What a sentence may rest on without a person: it is, word for word, one of our house's phrases, or a fact that our own
code found. Every other sentence is somebody's invention or somebody's judgement, with or without evidence, and both
are for a person to read before the customer does.
"""

import re
from collections.abc import Iterator, Sequence

from opsconsole.shipped.refund_desk.contracts import Brief, Letter, Sentence, Wording
from runs.claims import Quote, Statement, ToVerify, Verdict, Verdicts

PHRASES = "phrases"
OURS = (PHRASES, "look_up", "check")  # the nodes whose sentences are our own

_BETWEEN = re.compile(r"\s*")
_ENDS = re.compile(r"[.!?:…][”\"')]*(?=\s)|(?=\n)")


def sentences(brief: Brief, letter: Letter, facts_from: str) -> Wording:
    """A letter as claims: every sentence with the phrase or fact it is, or with what the drafter says shows it.

    `facts_from` is the node that found the brief's facts. No character of the text is lost.
    """
    own = {text: Quote(source=PHRASES, text=text) for text in brief.phrases}
    own |= {text: Quote(source=facts_from, text=text) for text in brief.facts}
    grounds: dict[str, list[Quote]] = {}
    for one in letter.grounds:
        grounds.setdefault(one.sentence, []).append(Quote(source=one.source, text=one.quote))
    claims = tuple(
        Sentence(before=before, text=text, quotes=_quotes(own.get(text), grounds.get(text, ())))
        for before, text in _split(letter.body, sorted(own, key=len, reverse=True))
    )
    return Wording(claims=claims, owed=brief.kind == "refund" and not brief.settled)


def _quotes(own: Quote | None, named: Sequence[Quote]) -> tuple[Quote, ...]:
    return (own,) if own else tuple(named)


def _split(body: str, known: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of the space before a sentence and the sentence. A known sentence counts as one, whatever is in it."""
    at = 0
    while at < len(body):
        space = _BETWEEN.match(body, at)
        before = space.group() if space else ""
        at += len(before)
        text = next((one for one in known if _stands(one, body, at)), None) or _until_end(body, at)
        if text:
            yield before, text
        at += len(text)


def _stands(text: str, body: str, at: int) -> bool:
    end = at + len(text)
    return body.startswith(text, at) and (end == len(body) or body[end].isspace())


def _until_end(body: str, at: int) -> str:
    end = _ENDS.search(body, at)
    return body[at : end.end()] if end else body[at:].rstrip()


def together(letter: Letter, wording: Wording) -> Letter:
    """The letter with the sentences that stand, as they were laid out."""
    body = "".join(one.before + one.text for one in wording.claims).strip()
    kept = {one.text for one in wording.claims}
    grounds = tuple(one for one in letter.grounds if one.sentence in kept)
    return letter.model_copy(update={"body": body, "grounds": grounds})


def ours(asked: ToVerify) -> Verdicts:
    """The verifier: a sentence stands when it is one of ours, word for word. Its evidence was looked at before."""
    return Verdicts(verdicts=tuple(_verdict(one) for one in asked.statements))


def _verdict(one: Statement) -> Verdict:
    if any(passage.source in OURS and passage.quote == one.text for passage in one.passages):
        return Verdict(number=one.number, holds=True)
    if any(passage.source not in OURS for passage in one.passages):
        why = "What it rests on was written by the customer. Does that make it true, and do we say so?"
    else:
        why = "It is none of our phrases. Does what it rests on say so?"
    return Verdict(number=one.number, holds=False, why=why)
