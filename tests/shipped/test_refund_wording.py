"""A letter taken apart into its sentences: what stands without a person, and what does not."""

from typing import Any

import pytest

from opsconsole.shipped.refund_desk import drafting, phrases, terms, wording
from opsconsole.shipped.refund_desk.contracts import Brief, Ground, Letter, Wording
from runs.canonical import plain
from runs.claims import Passage, Statement, ToVerify
from runs.guards.grounding import Evidence, lacking, said_in, source

from .test_refund_rules import reviewed

MESSAGES = (
    "01-kettle-leaks.eml",
    "03-how-long.eml",
    "04-no-number.eml",
    "11-two-orders.eml",
    "34-teppich-zu-spaet.eml",
)


def brief_of(file: str) -> Brief:
    brief = reviewed(file).brief
    told = phrases.phrases(phrases.occasion(brief), terms.current())
    return brief.model_copy(update={"phrases": told.phrases})


def drafted(brief: Brief, *sentences: str) -> Letter:
    letter = drafting.letter(plain(brief))
    for sentence in sentences:
        letter = drafting.with_sentence(letter, sentence)
    return Letter.model_validate(letter)


def evidence_for(brief: Brief) -> Evidence:
    occasion = phrases.occasion(brief)
    records = source("phrases", {"phrases": list(brief.phrases)}, tuple(said_in(plain(occasion))))
    case = {"message": plain(brief.message), "triaged": plain(brief.triaged)}
    found = source("check", plain(brief), tuple(said_in(case)))
    return Evidence(sources=(records, found, source("read", plain(brief.message))))


def standing(brief: Brief, letter: Letter) -> tuple[Wording, list[str]]:
    """The letter's sentences, and the texts of those that do not stand."""
    taken = wording.sentences(brief, letter, "check")
    known = evidence_for(brief)
    asked = [
        Statement(
            number=number,
            text=one.text,
            claim=plain(one),
            passages=tuple(Passage(source=q.source, quote=q.text, text=q.text) for q in one.quotes),
        )
        for number, one in enumerate(taken.claims)
        if not lacking(one, known)
    ]
    holding = {one.number for one in wording.ours(ToVerify(statements=tuple(asked))).verdicts if one.holds}
    return taken, [one.text for number, one in enumerate(taken.claims) if number not in holding]


@pytest.mark.parametrize("file", MESSAGES)
def test_every_sentence_of_an_honest_letter_stands_and_the_letter_comes_together_as_it_was(file: str) -> None:
    brief = brief_of(file)
    letter = drafted(brief)
    taken, doubtful = standing(brief, letter)
    assert doubtful == []
    assert wording.together(letter, taken) == letter


@pytest.mark.parametrize(
    "sentence",
    [
        "A new one is on its way",
        "Your guarantee lasts for life.",
        "We are sorry for the trouble. We pay for the floor as well.",
        "we are sorry for the trouble.",
        "Kind\u200bregards",
    ],
)
def test_a_sentence_of_somebodys_own_does_not_stand(sentence: str) -> None:
    brief = brief_of("01-kettle-leaks.eml")
    letter = drafted(brief, sentence)
    taken, doubtful = standing(brief, letter)
    assert doubtful == [sentence.removeprefix("We are sorry for the trouble. ")]
    assert wording.together(letter, taken).body == letter.body


@pytest.mark.parametrize("where", ["read", "check", "phrases"])
def test_a_sentence_of_its_own_does_not_stand_by_evidence_it_names(where: str) -> None:
    brief = brief_of("01-kettle-leaks.eml")
    ground: dict[str, Any] = {
        "sentence": "It leaks at the spout.",
        "source": where,
        "quote": "leaks at the spout",
    }
    letter = drafted(brief, "It leaks at the spout.").model_copy(update={"grounds": (Ground(**ground),)})
    assert standing(brief, letter)[1] == ["It leaks at the spout."]


def test_a_customer_who_writes_our_phrases_takes_none_of_them_away_and_adds_none() -> None:
    brief = brief_of("01-kettle-leaks.eml")
    thread = brief.message.body + "\n\n> We are sorry for the trouble.\n> You get everything back."
    brief = brief.model_copy(update={"message": brief.message.model_copy(update={"body": thread})})
    assert standing(brief, drafted(brief, "You get everything back."))[1] == ["You get everything back."]


@pytest.mark.parametrize(
    "name", ["Ada and we pay you everything twice", "Ada, you were right about the whole thing"]
)
def test_a_name_that_is_a_sentence_is_greeted_only_after_a_person_has_looked(name: str) -> None:
    brief = reviewed("01-kettle-leaks.eml").brief
    brief = brief.model_copy(update={"message": brief.message.model_copy(update={"name": name})})
    told = phrases.phrases(phrases.occasion(brief), terms.current())
    brief = brief.model_copy(update={"phrases": told.phrases})
    assert standing(brief, drafted(brief))[1] == [f"Dear {name},"]
