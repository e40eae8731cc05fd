"""What grounds a claim, and what does not. Pure."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.guards.grounding import Evidence, Source, figures, lacking, plain, said_in, source, strange_figures
from tests.verify.flows import claim

PAPER = source("paper.read", {"text": "The bridge was opened in 1931.\nIts span is 503 metres.", "page": 12})
WORDS = st.text(
    st.characters(categories=("L", "N", "P", "Zs"), exclude_characters="\x00"), min_size=1, max_size=60
)
_SHORT = 3


def _whys(quote: str, *sources: Source, name: str = "paper.read", text: str = "So it is.") -> list[str]:
    return [one.why for one in lacking(claim(text, (name, quote)), Evidence(sources=sources or (PAPER,)))]


@pytest.mark.parametrize(
    "quote",
    [
        "The bridge was opened in 1931.",
        "opened in 1931",
        "THE BRIDGE   was\topened",
        "opened in 1931. Its span",  # over the end of a line
        '"page":12',  # as the agent was shown it
        "\u201cpage\u201d:12",
    ],
)
def test_words_that_stand_there_in_this_order_are_found(quote: str) -> None:
    assert _whys(quote) == []


@pytest.mark.parametrize(
    "quote",
    [
        "The bridge was opened in 1932.",
        "bridge opened in 1931",  # a word is left out
        "opened in 1931 … 503 metres",
        "ridge was opened",  # begins within a word
        "opened in 193",  # ends within a number
        "1931 in opened",
        "metres. 12",  # from one value to the next
    ],
)
def test_words_that_do_not_stand_there_are_not(quote: str) -> None:
    assert _whys(quote) == ["It does not stand there."]


def test_a_number_does_not_stand_in_a_longer_one() -> None:
    money = source("book", {"amount": "1,503.50"})
    assert _whys("503", money, name="book") == ["It does not stand there."]
    assert _whys("1,503", money, name="book") == ["It does not stand there."]
    assert _whys("1,503.50", money, name="book") == []


def test_a_quotation_of_hardly_anything_proves_nothing() -> None:
    assert _whys("12") == ["So short a quotation is found by chance."]
    assert _whys("...") == ["So short a quotation is found by chance."]


def test_a_source_that_does_not_exist_is_refused_and_those_that_do_are_named() -> None:
    (why,) = _whys("opened in 1931", name="research")
    assert "no such source" in why
    assert "“paper.read”" in why


def test_a_tool_is_a_source_also_under_the_name_that_a_provider_lets_it_have() -> None:
    assert _whys("opened in 1931", name="paper_read") == []


def test_every_quotation_of_a_claim_has_to_stand() -> None:
    mixed = claim("So it is.", ("paper.read", "opened in 1931"), ("paper.read", "painted green"))
    assert [one.quote for one in lacking(mixed, Evidence(sources=(PAPER,)))] == ["painted green"]


def test_a_claim_without_a_quotation_names_no_evidence() -> None:
    assert [one.why for one in lacking(claim("It is so."), Evidence(sources=(PAPER,)))] == [
        "It names no evidence."
    ]


def test_an_empty_claim_set_of_sources_grounds_nothing() -> None:
    assert lacking(claim("It is so.", ("paper.read", "opened in 1931")), Evidence())


def _echo(said: object, result: object, quote: str, given_: tuple[str, ...] = ()) -> list[str]:
    kept = source("note.keep", result, tuple(said_in(said)))
    known = Evidence(sources=(kept,), given=tuple(map(plain, given_)))
    return [one.why for one in lacking(claim("So it is.", ("note.keep", quote)), known)]


def test_a_tool_that_repeats_what_it_was_told_vouches_for_nothing() -> None:
    fact = "It was painted green in the spring."
    only = ["It stands there only because an agent had written it there."]
    assert _echo({"text": fact}, {"kept": fact}, fact) == only
    assert _echo({"text": fact}, {"kept": fact}, "painted green") == only
    assert _echo({"text": fact}, {"kept": f"Saved: {fact}"}, f"Saved: {fact}") == only


def test_what_a_tool_adds_of_its_own_counts() -> None:
    asked, found = {"id": "K-1042"}, {"id": "K-1042", "total": "49.90 euros"}
    assert _echo(asked, found, "49.90 euros") == []
    assert _echo(asked, found, '"id":"K-1042","total":"49.90 euros"') == []


def test_what_was_given_from_outside_is_no_invention_of_the_agent_that_asks_with_it() -> None:
    asked, found = {"id": "K-1042"}, {"id": "K-1042"}
    assert _echo(asked, found, "K-1042") != []
    assert _echo(asked, found, "K-1042", given_=("My order is K-1042.",)) == []


@pytest.mark.parametrize(
    ("told", "quote", "strange"),
    [
        ("It cost 1,234.50 euros", "1234.5", ()),
        ("It cost 1.234,50 Euro", "1234.50", ()),
        ("12kg", "12 kg", ()),
        ("on 21 November 2026", "2026-11-21", ()),
        ("on 22 November 2026", "2026-11-21", ("22",)),
        ("File 3F9A01BC", "File 3F9A01BD", ("3f9a01bc",)),
        ("no figure", "none", ()),
        ("5 of 5", "6", ("5",)),
    ],
)
def test_figures_are_compared_by_what_they_mean(told: str, quote: str, strange: tuple[str, ...]) -> None:
    assert strange_figures([told], [quote]) == strange


@given(before=WORDS, quote=WORDS, after=WORDS)
def test_a_quotation_that_stands_free_is_always_found(before: str, quote: str, after: str) -> None:
    if sum(char.isalnum() for char in plain(quote)) < _SHORT:
        return
    paper = source("paper", {"text": f"{before} ; {quote} ; {after}"})
    known = Evidence(sources=(paper,))
    assert [one.quote for one in lacking(claim("So it is.", ("paper", quote)), known) if one.quote] == []


@given(text=WORDS, quote=WORDS)
def test_what_is_found_really_stands_there(text: str, quote: str) -> None:
    """Never grounds what is not there: with all but letters and digits left out, found words are a part."""

    def bare(value: str) -> str:
        return "".join(char for char in plain(value) if char.isalnum())

    known = Evidence(sources=(Source(name="paper", parts=(text,)),))
    if not lacking(claim("So it is.", ("paper", quote)), known):
        assert bare(quote) in bare(text)


@given(text=WORDS)
def test_how_letters_are_composed_and_which_case_they_have_does_not_count(text: str) -> None:
    if sum(char.isalnum() for char in plain(text)) < _SHORT:
        return
    paper = source("paper", {"text": unicodedata.normalize("NFC", text)})
    quote = unicodedata.normalize("NFD", text)
    assert lacking(claim("So it is.", ("paper", quote)), Evidence(sources=(paper,))) == ()


@given(fact=st.lists(st.text("abcdefg", min_size=3, max_size=6), min_size=4, max_size=9))
def test_whatever_an_agent_writes_its_repetition_grounds_nothing(fact: list[str]) -> None:
    told = " ".join(fact)
    assert _echo({"text": told}, {"kept": told, "ok": "yes"}, told) != []


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=5))
def test_every_figure_is_at_home_in_its_own_text(numbers: list[int]) -> None:
    text = "; ".join(f"{number:,}" for number in numbers)
    assert strange_figures([text], [text]) == ()
    assert len(figures(text)) == len(numbers)
